"""When the gateway counts as serving (+), by what it answered: + serving, - not, . silence.

| it said   | it counts as | because                                      |
|-----------|--------------|----------------------------------------------|
| `+-+`     | `+-+`        | an answer is believed at once                |
| `+.+`     | `+++`        | a machine pauses for a second now and then   |
| `+..`     | `++-`        | two silences are no pause                    |
| `+...+`   | `++--+`      | silence makes nobody healthy                 |
| `+.+.+`   | `+++++`      | silences are counted in a row                |
| `..`      | `--`         | who never answered does not serve            |
| `-.`      | `--`         | nor one who said so                          |
"""

import pytest

from khqr_svc.standing import Standing
from tests.khqr_svc.stage import Stage

_ANSWERS = {"+": True, "-": False, ".": None}


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ("+-+", "+-+"),
        ("+.+", "+++"),
        ("+..", "++-"),
        ("+...+", "++--+"),
        ("+.+.+", "+++++"),
        ("..", "--"),
        ("-.", "--"),
    ],
)
def test_the_gateway_counts_as_serving_after_what_it_said(said: str, counts: str) -> None:
    standing = Standing()
    found = ["+" if standing.heard(answer=_ANSWERS[one]) else "-" for one in said]
    assert "".join(found) == counts


async def test_a_gateway_that_does_not_answer_in_time_is_silent_and_no_more(stage: Stage) -> None:
    gateway = stage.process._gateway
    assert await gateway.is_serving(timeout_s=-1.0) is None, "it was too late"
    assert await gateway.is_serving(timeout_s=5.0) is True
