"""Gauges of monitoring among a server's metrics: what scripts/monitor.py found last."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

from ftjax.errors import UserError
from ftjax.serving.monitoring.gauges import FOLDER, KINDS, read_gauges
from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor


class DriftMetrics:
    """A collector for prometheus-client; a file that cannot be read is a gauge too, no error."""

    def __init__(self, traffic: TrafficMonitor):
        self.traffic = traffic
        self.folder: pathlib.Path = traffic.folder / FOLDER

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        yield GaugeMetricFamily(
            'ftjax_window_answers', 'In the present window.', value=self.traffic.sketch.seen
        )
        yield GaugeMetricFamily(
            'ftjax_window_failures', 'Windows that were not written.', value=self.traffic.failures
        )
        try:
            found = read_gauges(self.folder, self.traffic.bundle.digest)
        except UserError:
            found = None
        yield GaugeMetricFamily(
            'ftjax_drift_readable',
            'Whether monitor.json is there and sound, or not there.',
            value=float(found is not None),
        )
        for name, told in KINDS.items():
            own = [one for one in found or () if one.name == name]
            if own:
                family = GaugeMetricFamily(name, told, labels=['of'])
                for one in own:
                    family.add_metric([one.of], one.value)
                yield family
