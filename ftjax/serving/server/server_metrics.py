"""What Prometheus reads of a server: counts, times and sketches, never an input."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from ftjax.serving.bundle.answer_forms.answer_form import Told
from ftjax.serving.bundle.reference import BINS

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class ServerMetrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self):
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = CollectorRegistry()
        self._drift: Any = None
        self.requests = Counter(
            'ftjax_requests', 'Requests by path and status.', ['path', 'status'], registry=registry
        )
        self.seconds = Histogram(
            'ftjax_request_seconds',
            'Seconds from the first byte of a request to its answer.',
            *(['path'],),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            'ftjax_batch_examples', 'Examples a batch.', buckets=_SIZES, registry=registry
        )
        self.padding = Counter('ftjax_batch_padding', 'Rows that filled up.', registry=registry)
        self.program = Histogram(
            'ftjax_program_seconds', 'Seconds of a batch.', buckets=_SECONDS, registry=registry
        )
        self.pending = Gauge('ftjax_pending_examples', 'On their way.', registry=registry)
        self.ready = Gauge('ftjax_ready', '1 when all is compiled and right.', registry=registry)
        self.predicted = Counter(
            'ftjax_predicted', 'Answers by class.', ['answer'], registry=registry
        )
        self.confidence = Histogram(
            'ftjax_confidence',
            'Probability of the answer; compare with reference.safetensors of the bundle.',
            buckets=[i / BINS for i in range(1, BINS + 1)],
            registry=registry,
        )
        self.days = Gauge(
            'ftjax_guarantee_days', 'Until JAX no longer promises to run it.', registry=registry
        )
        self.info = Gauge(
            'ftjax_bundle',
            'The bundle that answers.',
            *(['name', 'version', 'sha256'],),
            registry=registry,
        )
        self.promotions = Counter(
            'ftjax_promotions', 'New versions by what became of them.', ['to'], registry=registry
        )
        for outcome in ('live', 'refused'):
            self.promotions.labels(outcome)
        self.registry_errors = Counter(
            'ftjax_registry_errors', 'Looks at the registry that failed.', registry=registry
        )

    def of_bundle(self, name: str, version: str, sha256: str, manifest: Mapping[str, Any]) -> None:
        """Notes the bundle that answers from now on."""
        ends = datetime.date.fromisoformat(manifest['guarantee_ends'])
        self.days.set((ends - datetime.datetime.now(datetime.UTC).date()).days)
        self.info.clear()
        self.info.labels(name, version, sha256).set(1)

    def of_drift(self, collector: Any) -> None:
        """Puts a collector of the bundle that answers in the place of the one before."""
        if self._drift is not None:
            self.registry.unregister(self._drift)
        if collector is not None:
            self.registry.register(collector)
        self._drift = collector

    def answered(self, told: Told) -> None:
        """Counts one answer: its classes, and how probable it is."""
        for name in told.classes:
            self.predicted.labels(name).inc()
        if told.probable:
            self.confidence.observe(told.value)

    def text(self) -> bytes:
        """In the format of Prometheus."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)
