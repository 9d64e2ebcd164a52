"""Between HTTP and a bundle: readiness, reading inputs, batches, answers."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.bundle.image_inputs import ImageReader
from ftjax.serving.bundle.input_rows import Example, InputRows
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.server.batcher import Batcher
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.request_inputs import Asked
from ftjax.serving.server.server_metrics import ServerMetrics
from ftjax.serving.server.server_settings import ServerSettings

_log = logging.getLogger('ftjax.serving')


class Service:
    """A bundle that answers requests; `start` it in an event loop, `close` it at the end."""

    def __init__(self, bundle: Bundle, settings: ServerSettings):
        self.bundle, self.settings, self.metrics = bundle, settings, ServerMetrics()
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

    async def close(self) -> None:
        """Answers what was accepted, and ends."""
        self.ready = False
        self.metrics.ready.set(0)
        await self.batcher.close()
        self.readers.shutdown(wait=True, cancel_futures=True)

    def warm_up(self) -> None:
        """Compiles every bucket at every batch size, and checks goldens in each."""
        began = time.perf_counter()
        try:
            worst = 0.0
            for size in self.settings.batch_sizes:
                for bucket in self.bundle.signature.buckets:
                    self.bundle.compile(bucket, size)
            # Goldens run in the largest batch that is served.
            worst = self.bundle.check_goldens(self.settings.batch_sizes[-1])
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
        read = [self.bundle.reader.rows(each) for each in raw]
        found = self.bundle.reader.stacked([row for each in read for row in each.rows])
        for name, array in found.items():
            expected = self.goldens.inputs[name]
            same = expected[:, : array.shape[1]] if array.ndim > 1 else expected
            if not np.array_equal(array, same):
                raise UserError(f'{name} of the golden inputs is read otherwise than at export')

    async def answer(self, asked: Asked) -> list[dict[str, Any]]:
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
                    answers = await self._answers(asked)
            except TimeoutError:
                raise Refusal(504, f'no answer within {self.settings.timeout:g} s') from None
        self.metrics.pending.set(self.batcher.pending)
        return answers

    async def _answers(self, asked: Asked) -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        read = await asyncio.gather(
            *(
                loop.run_in_executor(self.readers, self.read, number, raw)
                for number, raw in enumerate(asked.inputs)
            )
        )
        rows = [row for each in read for row in each[1]]
        if len(rows) > self.settings.queue:
            raise Refusal(
                413,
                f'the inputs are {len(rows)} rows of the network; at most {self.settings.queue} '
                'are taken at once',
            )
        with self.batcher.place(len(rows) - len(read)):
            found = await self.batcher.submit(rows)
        return await loop.run_in_executor(
            self.readers, self.told, asked, [given for given, _ in read], found
        )

    def read(self, number: int, raw: Any) -> tuple[InputRows, list[tuple[int, Example]]]:
        """One input, and its rows with the bucket of each; Refusal for what is none."""
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
        return given, rows

    def run(self, examples: Sequence[Any], bucket: int, size: int) -> list[Any]:
        """(outputs, features) of each row of a batch."""
        began = time.perf_counter()
        found = self.bundle.run(self.bundle.reader.stacked(examples), size, bucket)
        self.metrics.program.observe(time.perf_counter() - began)
        self.metrics.batch.observe(len(examples))
        self.metrics.padding.inc(size - len(examples))
        return list(zip(found.answered, found.features, strict=True))

    def told(
        self, asked: Asked, read: Sequence[InputRows], found: Sequence[tuple[np.ndarray, ...]]
    ) -> list[dict[str, Any]]:
        """Answers as they are sent, of the outputs and features of all rows of the inputs."""
        left, answers = iter(found), []
        for number, given in enumerate(read):
            parts = [next(left) for _ in given.rows]
            outputs, features = zip(*parts, strict=True)
            outputs = self.bundle.without_padding(outputs, given)
            try:
                row = self.bundle.form.answer(outputs, given, self.bundle.signature)
            except UserError as error:
                raise Refusal(422, str(error), number) from None
            self.metrics.answered(self.bundle.form.told(row))
            answers.append(self.row(row, outputs, np.mean(features, axis=0), asked))
        return answers

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
