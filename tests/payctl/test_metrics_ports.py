"""Where services that share a machine serve their numbers.

| given                              | gateway, KHQR service, bridge       |
|------------------------------------|-------------------------------------|
| nothing                            | nobody listens                      |
| METRICS_LISTEN=:9100               | 9100, 9101, 9102 of the loopback    |
| a port of 0                        | any free one each                   |
| BRIDGE_METRICS_LISTEN beside it    | the bridge as it says               |
"""

import pytest

from chassis.settings import SettingError, Variables
from payctl.parts import metrics_listens

CASES: list[tuple[dict[str, str], list[str]]] = [
    ({}, []),
    ({"METRICS_LISTEN": ":9100"}, ["127.0.0.1:9100", "127.0.0.1:9101", "127.0.0.1:9102"]),
    ({"METRICS_LISTEN": "127.0.0.1:0"}, ["127.0.0.1:0"] * 3),
    (
        {"METRICS_LISTEN": ":9100", "BRIDGE_METRICS_LISTEN": "127.0.0.2:9100"},
        ["127.0.0.1:9100", "127.0.0.1:9101"],
    ),
    ({"KHQR_METRICS_LISTEN": ":9200"}, []),
]


@pytest.mark.parametrize(("given", "listens"), CASES)
def test_no_two_services_of_one_machine_want_the_same_port(
    given: dict[str, str], listens: list[str]
) -> None:
    assert list(metrics_listens(variables=Variables(environ=given)).values()) == listens


def test_what_is_no_address_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match="BRIDGE_METRICS_LISTEN: must be host:port"):
        metrics_listens(variables=Variables(environ={"BRIDGE_METRICS_LISTEN": "9100"}))
