"""Writes KHQR codes, right and wrong, without the product's help."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from khqr_svc.khqr import KhqrUnreadable, parse_khqr

Tags = Mapping[str, "str | Tags"]

CREATED_MS, EXPIRES_MS = 1759813200123, 1759815000123
DYNAMIC: Tags = {
    "00": "01",
    "01": "12",
    "30": {"00": "amkbkhppxxx@amkb", "01": "900000000290002", "02": "AMK Bank"},
    "52": "6300",
    "53": "840",
    "54": "150",
    "58": "KH",
    "59": "A Life Insurer",
    "60": "Phnom Penh",
    "62": {"01": "150001", "03": "Head office", "07": "70000002"},
    "99": {"00": str(CREATED_MS), "01": str(EXPIRES_MS)},
}
STATIC: Tags = {
    "00": "01",
    "01": "11",
    "29": {"00": "sok_dara@devb"},
    "52": "5999",
    "53": "116",
    "58": "KH",
    "59": "សុខ ដារ៉ា",
    "60": "Siem Reap",
}
WITHOUT = ""  # a tag to leave out
Change = dict[str, "str | Tags"]


def bitwise_crc(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def unsealed(tags: Tags) -> str:
    texts = {
        tag: value if isinstance(value, str) else unsealed(value) for tag, value in tags.items()
    }
    return "".join(f"{tag}{len(text):02}{text}" for tag, text in texts.items() if text)


def sealed(body: str) -> str:
    return f"{body}6304{bitwise_crc(f'{body}6304'.encode()):04X}"


def written(base: Tags, change: Change | None = None) -> str:
    return sealed(unsealed({**base, **(change or {})}))


def parts(base: Tags, tag: str, change: Mapping[str, str]) -> Change:
    """Return `base` with its template `tag` changed inside."""
    inside = base.get(tag, {})
    assert not isinstance(inside, str)
    return {tag: {**inside, **change}}


def at(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def refusal(text: str) -> KhqrUnreadable:
    with pytest.raises(KhqrUnreadable) as caught:
        parse_khqr(text)
    assert "\n" not in str(caught.value)
    return caught.value
