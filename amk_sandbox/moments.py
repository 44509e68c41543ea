"""Moments as the sandbox stores, shows and sends them."""

from datetime import UTC, datetime, timedelta, timezone

# Cambodia keeps UTC+7 all year; the specification writes times in it.
PHNOM_PENH = timezone(timedelta(hours=7))


def stored(*, moment: datetime) -> str:
    """Return `moment` in UTC as text whose order is the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def shown(*, stored_text: str) -> str:
    """Return a stored moment as Phnom Penh time with its offset, to the second."""
    return datetime.fromisoformat(stored_text).astimezone(PHNOM_PENH).isoformat(timespec="seconds")


def paid_date(*, moment: datetime) -> str:
    """Return `moment` as the specification's paidDate: yyyyMMddHHmmss, GMT+7."""
    return moment.astimezone(PHNOM_PENH).strftime("%Y%m%d%H%M%S")


def paid_datetime(*, moment: datetime) -> str:
    """Return `moment` as the specification's paid_datetime, microseconds in Phnom Penh."""
    return moment.astimezone(PHNOM_PENH).strftime("%Y-%m-%d %H:%M:%S.%f")
