"""Between HTTP and a bundle: readiness, reading inputs, batches, answers."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.io.process.own_cores import own_cores
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.bundle.image_inputs import ImageReader
from ftjax.serving.bundle.input_rows import Example, InputRows
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.monitoring.sketch import Answered, answered
from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor
from ftjax.serving.server.batcher import Batcher
from ftjax.serving.server.drift_metrics import DriftMetrics
from ftjax.serving.server.measure_batches import measured_costs
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.request_inputs import Asked
from ftjax.serving.server.server_metrics import ServerMetrics
from ftjax.serving.server.server_settings import ServerSettings

_log = logging.getLogger('ftjax.serving')
MOST_OUTPUTS = 2**16
"""Numbers of an input that are sent where `outputs` are asked for: JSON makes each many bytes."""


@dataclasses.dataclass(frozen=True)
class ReadInput:
    """One input of a request."""

    given: InputRows
    rows: list[tuple[int, Example]]
    """Of its rows, each with the length that holds it."""
    measures: np.ndarray | None
    """What is watched of it; None where nothing is."""


class Service:
    """A bundle that answers requests; `start` it in an event loop, `close` it at the end."""

    def __init__(
        self,
        bundle: Bundle,
        settings: ServerSettings,
        traffic: TrafficMonitor | None = None,
        *,
        metrics: ServerMetrics | None = None,
        name: str = '',
        version: str = '',
    ):
        """A service that is not started.

        Args:
          bundle: that answers.
          settings: of the server.
          traffic: keeps sketches of what is answered; None keeps nothing.
          metrics: of the server, if it has some already.
          name, version: of a registry; else those of the bundle's folder.
        """
        self.traffic = traffic
        self._writing: asyncio.Task[None] | None = None
        self.bundle, self.settings, self.metrics = bundle, settings, metrics or ServerMetrics()
        self.name = name or bundle.folder.resolve().name
        self.version = version or bundle.digest[:12]
        self.reference = read_reference(bundle.folder, bundle.signature)
        self.goldens = read_goldens(bundle.folder)
        reader = bundle.reader
        if isinstance(reader, ImageReader):
            reader.max_pixels = settings.max_pixels
        self.readers = ThreadPoolExecutor(own_cores(), thread_name_prefix='ftjax-inputs')
        self.batcher = Batcher(
            self.run, settings.batch_sizes, settings.latency_ms / 1000, settings.queue
        )
        self.failed = ''
        """Why it will never be ready; '' where nothing is wrong."""
        self.ready = False
        self._warming: asyncio.Task[None] | None = None
        self._closing = threading.Event()

    def announce(self) -> None:
        """Tells the metrics that this is what answers."""
        bundle = self.bundle
        self.metrics.of_bundle(self.name, self.version, bundle.digest, bundle.manifest)
        self.metrics.of_drift(None if self.traffic is None else DriftMetrics(self.traffic))

    def start(self) -> None:
        """Takes requests, once all is compiled and the goldens were right."""
        self.open()
        self._warming = asyncio.create_task(asyncio.to_thread(self.warm_up))

    def open(self) -> None:
        """Begins to run batches, and to write sketches."""
        self.batcher.start()
        if self.traffic is not None:
            self._writing = asyncio.create_task(self.traffic.run())

    async def close(self) -> None:
        """Answers what was accepted, and ends; what gets ready ends after its present program."""
        self._closing.set()
        self.ready = False
        await self.batcher.close()
        self.readers.shutdown(wait=True, cancel_futures=True)
        if self.traffic is not None and self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])
            self.traffic.store(self.traffic.waiting())

    def warm_up(self) -> None:
        """Compiles every bucket at every batch size, checks goldens in each; ends at a `close`."""
        began = time.perf_counter()
        buckets = self.bundle.signature.buckets
        try:
            for size in self.settings.batch_sizes:
                for bucket in buckets:
                    if self._closing.is_set():
                        return
                    self.bundle.compile(bucket, size)
            if self._closing.is_set():
                return
            if not self.batcher.costs.seconds:
                self.batcher.costs = measured_costs(
                    self.bundle,
                    self.goldens,
                    self.settings.batch_sizes,
                    self.settings.runners,
                    self.batcher.threads,
                )
            if self._closing.is_set():
                return
            # Goldens run in the largest batch that is served.
            worst = self.bundle.check_goldens(max(map(self.batcher.costs.largest, buckets)))
            self._check_reader()
        except Exception as error:  # said by /readyz: the process stays to tell it
            if self._closing.is_set():  # what it runs in has ended
                return
            self.failed = str(error) or type(error).__name__
            _log.error('never ready: %s', self.failed)
            return
        self.ready = not self._closing.is_set()
        _log.info(
            'ready: %d programs in %.1f s, goldens off by %.2g at most; %s',
            len(self.bundle.compiled),
            time.perf_counter() - began,
            worst,
            self.batcher.costs.told(buckets),
        )

    def take_after(self, other: Service) -> None:
        """Takes what another service compiled and measured of the same programs."""
        same_sizes = self.settings.batch_sizes == other.settings.batch_sizes
        if self.bundle.share_programs(other.bundle) and same_sizes:
            self.batcher.costs = other.batcher.costs

    def _check_reader(self) -> None:
        """UserError where raw goldens no longer become the arrays that they became."""
        raw = list(self.goldens.raw)
        if not raw:
            return
        read = [self.bundle.reader.rows(each) for each in raw]
        found = self.bundle.reader.stacked([row for each in read for row in each.rows])
        for name, array in found.items():
            expected = self.goldens.inputs[name]
            same = expected[:, : array.shape[1]] if array.ndim > 1 else expected
            if not np.array_equal(array, same):
                raise UserError(f'{name} of the golden inputs is read otherwise than at export')

    async def answer(
        self, asked: Asked, request_id: str = '', began: float | None = None
    ) -> list[dict[str, Any]]:
        """The answers to a request, in the order of its inputs.

        Args:
          asked: the request.
          request_id: its name.
          began: `time.perf_counter()` at its first byte, from which on its time counts; None for
            now.

        Raises:
          Refusal: not ready, no room, an input that cannot be read, out of time.
        """
        if not self.ready:
            raise Refusal(503, self.failed or 'programs are being compiled; try again soon')
        spent = 0.0 if began is None else time.perf_counter() - began
        with self.batcher.place(len(asked.inputs)):
            try:
                async with asyncio.timeout(max(0.0, self.settings.timeout - spent)):
                    answers, noted = await self._answers(asked, request_id)
            except TimeoutError:
                raise Refusal(504, f'no answer within {self.settings.timeout:g} s') from None
        if self.traffic is not None:
            self.traffic.note(request_id, asked.inputs, noted)
        return answers

    async def _answers(
        self, asked: Asked, request_id: str
    ) -> tuple[list[dict[str, Any]], list[Answered]]:
        """Answers as they are sent, and as the monitoring counts them."""
        loop = asyncio.get_running_loop()
        read = await asyncio.gather(
            *(
                loop.run_in_executor(self.readers, self.read, number, raw)
                for number, raw in enumerate(asked.inputs)
            )
        )
        rows = [row for each in read for row in each.rows]
        if len(rows) > self.settings.queue:
            raise Refusal(
                413,
                f'the inputs are {len(rows)} rows of the network; at most {self.settings.queue} '
                'are taken at once',
            )
        with self.batcher.place(len(rows) - len(read)):
            found = await self.batcher.submit(rows)
        return await loop.run_in_executor(self.readers, self.told, asked, request_id, read, found)

    def read(self, number: int, raw: Any) -> ReadInput:
        """One input, its rows, and its measures where traffic is watched; Refusal for none."""
        bundle = self.bundle
        try:
            if isinstance(raw, str) and bundle.signature.takes == 'images':
                raise UserError('no path is opened for a request')
            given, rows = bundle.reader.rows(raw), []
            for row in given.rows:
                arrays = bundle.checked(bundle.reader.stacked([row]))
                rows.append((bundle.signature.bucket(bundle.length(arrays)), row))
        except UserError as error:
            raise Refusal(422, str(error), number) from None
        measures = None if self.traffic is None else self.traffic.measured(raw, given)
        return ReadInput(given, rows, measures)

    def run(self, examples: Sequence[Any], bucket: int, size: int) -> list[Any]:
        """(outputs, features) of each row of a batch."""
        began = time.perf_counter()
        found = self.bundle.run(self.bundle.reader.stacked(examples), size, bucket)
        self.metrics.program.observe(time.perf_counter() - began)
        self.metrics.batch.observe(len(examples))
        self.metrics.padding.inc(size - len(examples))
        return list(zip(found.answered, found.features, strict=True))

    def told(
        self,
        asked: Asked,
        request_id: str,
        read: Sequence[ReadInput],
        found: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> tuple[list[dict[str, Any]], list[Answered]]:
        """See `_answers`; `found` are outputs and features of all rows of the inputs."""
        left, answers, noted = iter(found), [], []
        form, signature = self.bundle.form, self.bundle.signature
        for number, one in enumerate(read):
            outputs, parts = zip(*(next(left) for _ in one.rows), strict=True)
            outputs = self.bundle.without_padding(outputs, one.given)
            features = np.mean(parts, axis=0) if len(parts) > 1 else parts[0]
            try:
                row = form.answer(outputs, one.given, signature)
            except UserError as error:
                raise Refusal(422, str(error), number) from None
            told = form.told(row)
            self.metrics.answered(told)
            if one.measures is not None:
                name = f'{request_id}/{number}'
                noted.append(answered(signature, name, told, features, one.measures))
            numbers = sum(each.size for each in outputs)
            if asked.outputs and numbers > MOST_OUTPUTS:
                raise Refusal(
                    422,
                    f'outputs are {numbers:,} numbers; at most {MOST_OUTPUTS:,} are sent',
                    number,
                )
            answers.append(self.row(row, outputs, features, asked))
        return answers, noted

    def row(
        self,
        row: dict[str, Any],
        outputs: Sequence[np.ndarray],
        features: np.ndarray,
        asked: Asked,
    ) -> dict[str, Any]:
        """One answer, with what else was asked for."""
        if asked.outputs:
            told = [each.tolist() for each in outputs]
            row = {**row, 'outputs': told[0] if len(told) == 1 else told}
        if asked.nearest:
            row = {**row, 'nearest': self.reference.nearest(features[None], asked.nearest)[0]}
        return row
