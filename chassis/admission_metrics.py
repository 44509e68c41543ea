"""How full this process is with calls: under way, waiting, told to come later."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chassis.admission import Admission


def watch_admission(*, registry: CollectorRegistry, admission: Admission) -> None:
    """Tell how many calls are under way, wait for their turn, and were told "later"."""
    registry.register(_Calls(admission))


class _Calls(Collector):
    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> Iterable[Metric]:
        admission = self._admission
        yield GaugeMetricFamily(
            "calls_under_way", "Calls being answered now.", value=admission.under_way
        )
        yield GaugeMetricFamily(
            "calls_waiting", "Calls that wait for their turn.", value=admission.waiting
        )
        shed = CounterMetricFamily(
            "calls_shed",
            "Calls told to come later; webhook: those that are refused last.",
            labels=("kind",),
        )
        shed.add_metric(("webhook",), admission.shed[True])
        shed.add_metric(("other",), admission.shed[False])
        yield shed
