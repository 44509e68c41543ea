"""A line for one request in so many, by its route and never by what a caller wrote.

| every | of ten requests |
|---|---|
| 0 | no line |
| 1 | ten |
| 4 | two: the fourth and the eighth |
"""

import json

import pytest

from rest_bridge.settings import Limits
from tests.rest_bridge.fakes import BEARER, served


@pytest.mark.parametrize(("every", "lines"), [(0, 0), (1, 10), (4, 2)])
async def test_one_in_so_many_requests_is_told_by_its_route(
    every: int, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(limits=Limits(access_log_every=every)) as stage:
        for number in range(10):
            async with stage.client.get(
                stage.url(f"/AMK/payments/{150001 + number}"), headers=BEARER
            ) as response:
                assert response.status == 200
    told = [line for line in capsys.readouterr().out.splitlines() if "one_in" in line]
    assert len(told) == lines
    for line in told:
        assert "/{bankCode}/payments/{id}" in line
        assert "1500" not in line
        assert "200" in line


async def test_what_a_stranger_writes_is_in_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        served(limits=Limits(access_log_every=1)) as stage,
        stage.client.get(stage.url("/secret/place?token=abc")) as response,
    ):
        assert json.loads(await response.text())["success"] is False
    [line] = [line for line in capsys.readouterr().out.splitlines() if "one_in" in line]
    assert "unmatched" in line
    assert "secret" not in line
    assert "abc" not in line
