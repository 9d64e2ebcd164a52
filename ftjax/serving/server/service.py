"""Between HTTP and a bundle: readiness, reading inputs, batches, answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.serving.bundle.answer_rows import answer_rows
from ftjax.serving.bundle.goldens import COUNT, read_goldens
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.bundle.raw_inputs import ImageReader
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.monitoring.sketch import answered
from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor
from ftjax.serving.server.batcher import Batcher
from ftjax.serving.server.drift_metrics import DriftMetrics
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.request_inputs import Asked
from ftjax.serving.server.server_metrics import ServerMetrics
from ftjax.serving.server.server_settings import ServerSettings

_log = logging.getLogger('ftjax.serving')


class Service:
    """A bundle that answers requests; `start` it in an event loop, `close` it at the end."""

    def __init__(
        self, bundle: Bundle, settings: ServerSettings, traffic: TrafficMonitor | None = None
    ):
        """`traffic` keeps sketches of what is answered; None keeps nothing."""
        self.traffic = traffic
        self._writing: asyncio.Task[None] | None = None
        self.bundle, self.settings, self.metrics = bundle, settings, ServerMetrics()
        if traffic is not None:
            self.metrics.registry.register(DriftMetrics(traffic))
        self.name = bundle.folder.resolve().name
        self.metrics.of_bundle(self.name, bundle.digest, bundle.manifest)
        self.reference = read_reference(bundle.folder, bundle.signature)
        self.goldens = read_goldens(bundle.folder)
        reader = bundle.reader
        if isinstance(reader, ImageReader):
            reader.max_pixels = settings.max_pixels
        self.readers = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix='ftjax-inputs')
        self.batcher = Batcher(
            self.run, settings.batch_sizes, settings.latency_ms / 1000, settings.queue
        )
        self.failed = ''
        """Why it will never be ready; '' where nothing is wrong."""
        self.ready = False
        self._warming: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Takes requests, once all is compiled and the goldens were right."""
        self.batcher.start()
        self._warming = asyncio.create_task(asyncio.to_thread(self.warm_up))
        if self.traffic is not None:
            self._writing = asyncio.create_task(self.traffic.run())

    async def close(self) -> None:
        """Answers what was accepted, and ends."""
        self.ready = False
        self.metrics.ready.set(0)
        await self.batcher.close()
        self.readers.shutdown(wait=True, cancel_futures=True)
        if self.traffic is not None and self._writing is not None:
            self._writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writing
            self.traffic.store(self.traffic.waiting())

    def warm_up(self) -> None:
        """Compiles every bucket at every batch size, and checks goldens in each."""
        began = time.perf_counter()
        try:
            worst = 0.0
            for size in self.settings.batch_sizes:
                for bucket in self.bundle.signature.buckets:
                    self.bundle.compile(bucket, size)
            # Goldens run in the largest batch that is served, if it holds them all.
            worst = self.bundle.check_goldens(max(self.settings.batch_sizes[-1], COUNT))
            self._check_reader()
        except Exception as error:  # said by /readyz: the process stays to tell it
            self.failed = str(error) or type(error).__name__
            _log.error('never ready: %s', self.failed)
            return
        self.ready = True
        self.metrics.ready.set(1)
        _log.info(
            'ready: %d programs compiled in %.1f s, goldens off by %.2g at most',
            len(self.bundle.compiled),
            time.perf_counter() - began,
            worst,
        )

    def _check_reader(self) -> None:
        """UserError where raw goldens no longer become the arrays that they became."""
        raw = list(self.goldens.raw)
        if not raw:
            return
        found = self.bundle.reader.stacked([self.bundle.reader.read(each) for each in raw])
        for name, array in found.items():
            expected = self.goldens.inputs[name]
            same = expected[:, : array.shape[1]] if array.ndim > 1 else expected
            if not np.array_equal(array, same):
                raise UserError(f'{name} of the golden inputs is read otherwise than at export')

    async def answer(self, asked: Asked, request_id: str = '') -> list[dict[str, Any]]:
        """The answers to a request, in the order of its inputs.

        Raises:
          Refusal: not ready, no room, an input that cannot be read, out of time.
        """
        if not self.ready:
            raise Refusal(503, self.failed or 'programs are being compiled; try again soon')
        with self.batcher.place(len(asked.inputs)):
            self.metrics.pending.set(self.batcher.pending)
            try:
                async with asyncio.timeout(self.settings.timeout):
                    loop = asyncio.get_running_loop()
                    read = await asyncio.gather(
                        *(
                            loop.run_in_executor(self.readers, self.read_measured, number, raw)
                            for number, raw in enumerate(asked.inputs)
                        )
                    )
                    found = await self.batcher.submit([example for example, _ in read])
            except TimeoutError:
                raise Refusal(504, f'no answer within {self.settings.timeout:g} s') from None
        self.metrics.pending.set(self.batcher.pending)
        if self.traffic is not None:
            answers = [
                answered(self.bundle.signature, f'{request_id}/{number}', answer, measures)
                for number, (answer, (_, measures)) in enumerate(zip(found, read, strict=True))
            ]
            self.traffic.note(request_id, asked.inputs, answers)
        return [self.row(answer, asked) for answer in found]

    def read(self, number: int, raw: Any) -> tuple[int, dict[str, np.ndarray]]:
        """(bucket, arrays) of one input; Refusal for what is none."""
        bundle = self.bundle
        try:
            if isinstance(raw, str) and bundle.signature.takes == 'images':
                raise UserError('no path is opened for a request')
            example = bundle.reader.read(raw)
            arrays = bundle.checked(bundle.reader.stacked([example]))
            return bundle.signature.bucket(bundle.length(arrays)), example
        except UserError as error:
            raise Refusal(422, str(error), number) from None

    def read_measured(self, number: int, raw: Any) -> tuple[tuple[int, Any], np.ndarray]:
        """As `read`, with the measures of the input for the monitoring; none where it is off."""
        bucket, example = self.read(number, raw)
        if self.traffic is None:
            return (bucket, example), np.zeros(0, np.float32)
        return (bucket, example), self.traffic.measured(raw, example)

    def run(self, examples: Sequence[Any], bucket: int, size: int) -> list[Any]:
        """Answers of one batch: (row, outputs, features), or the exception of an example."""
        began = time.perf_counter()
        found = self.bundle.run(self.bundle.reader.stacked(examples), size, bucket)
        self.metrics.program.observe(time.perf_counter() - began)
        self.metrics.batch.observe(len(examples))
        self.metrics.padding.inc(size - len(examples))
        answers: list[Any] = []
        for at in range(len(examples)):
            try:
                (row,) = answer_rows(found.outputs[at : at + 1], self.bundle.signature)
            except UserError as error:
                answers.append(Refusal(422, str(error)))
                continue
            self.metrics.answered(row)
            answers.append((row, found.outputs[at], found.features[at]))
        return answers

    def row(self, answer: tuple[dict[str, Any], np.ndarray, np.ndarray], asked: Asked) -> Any:
        """One answer as it is sent."""
        row, outputs, features = answer
        if asked.outputs:
            row = {**row, 'outputs': [float(value) for value in outputs]}
        if asked.nearest:
            row = {**row, 'nearest': self.reference.nearest(features[None], asked.nearest)[0]}
        return row
