"""The report of a certification as one HTML page: nothing is fetched, everything is escaped."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from html import escape

from payctl.cases import Outcome

_PHNOM_PENH = timezone(timedelta(hours=7))
_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:32px;max-width:1000px;color:#1a1a1a}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:6px 10px;"
    "border-bottom:1px solid #ddd;vertical-align:top}pre{white-space:pre-wrap;word-break:break-all;"
    "background:#f5f5f5;padding:8px;font-size:12px}.passed{color:#0a6b2d}.failed{color:#b00020;"
    "font-weight:600}"
)


def certificate(*, outcomes: Sequence[Outcome], at: datetime, base_url: str, bank: str) -> str:
    """Return the page."""
    return "".join(_page(outcomes, at, base_url, bank))


def _page(outcomes: Sequence[Outcome], at: datetime, base_url: str, bank: str) -> Iterator[str]:
    failed = sum(not one.passed for one in outcomes)
    said = f"{failed} of {len(outcomes)} cases failed" if failed else "All cases passed"
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield f"<title>Certification of {escape(bank)}: {said}</title><style>{_STYLE}</style></head>"
    yield f"<body><h1>Certification with {escape(bank)}</h1>"
    yield f'<p class="{"failed" if failed else "passed"}">{said}.</p>'
    when = at.astimezone(_PHNOM_PENH).isoformat(sep=" ", timespec="seconds")
    yield f"<p>{escape(base_url)}, {when}</p>"
    yield "<table><thead><tr><th>Case</th><th>Outcome</th><th>Expected</th><th>Seen</th>"
    yield "<th>Took</th></tr></thead><tbody>"
    for one in outcomes:
        yield _row(one)
    yield "</tbody></table><h2>Evidence</h2>"
    for one in outcomes:
        yield from _evidence(one)
    yield "</body></html>\n"


def _row(one: Outcome) -> str:
    mark = "passed" if one.passed else "failed"
    word = "&#10003; passed" if one.passed else "&#10007; failed"
    return (
        f'<tr><td>{escape(one.case.name)}</td><td class="{mark}">{word}</td>'
        f"<td>{escape(one.case.expects)}</td><td>{escape(one.unlike or 'the same')}</td>"
        f"<td>{round(one.took_s * 1000)} ms</td></tr>"
    )


def _evidence(one: Outcome) -> Iterator[str]:
    yield f"<details{'' if one.passed else ' open'}><summary>{escape(one.case.name)}</summary>"
    for call in one.evidence:
        yield f"<p>{escape(call.request)}</p>"
        if call.body:
            yield f"<pre>{escape(call.body)}</pre>"
        yield f"<pre>{call.status} {escape(call.answer)}</pre>"
    yield "</details>"
