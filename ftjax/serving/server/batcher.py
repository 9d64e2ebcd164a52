"""Dynamic batching: examples of many requests in one call of a program.

The first example of a batch waits for others until the latency budget is spent or the batch is
full. While a batch runs, others gather behind it. One that nobody joined lately does not wait: a
lone client is answered at once; nor does any where batches were measured and are not worth it.
Texts wait with those of their own length.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ftjax.serving.server.batch_costs import BatchCosts
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.server_settings import MOST_RUNNERS

Run = Callable[[Sequence[Any], int, int], Sequence[Any]]
"""(examples, bucket, batch size) -> an answer, or an exception, an example."""


@dataclasses.dataclass
class _Waiting:
    example: Any
    future: asyncio.Future[Any]
    since: float


class Batcher:
    """One queue a bucket, a few threads that run batches; see `submit`."""

    def __init__(self, run: Run, sizes: Sequence[int], latency: float, queue: int):
        """`latency` in seconds; `queue` is how many examples may be on their way at once."""
        self._run, self.latency, self.queue = run, latency, queue
        self.costs = BatchCosts(sizes)
        """Decides about batches; another one once times are measured."""
        self._waiting: dict[int, collections.deque[_Waiting]] = {}
        self._changed = asyncio.Event()  # an example came, or a run ended
        self.threads = ThreadPoolExecutor(MOST_RUNNERS, thread_name_prefix='ftjax-batches')
        self._worker: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.pending = 0
        """Examples that were accepted and are not answered yet."""
        self._alone = True  # whether the last batch held one example
        self.closed = False

    def start(self) -> None:
        """Begins to run batches, in the present event loop."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Answers what was accepted, takes nothing more, ends."""
        self.closed = True
        while self.pending:
            await asyncio.sleep(0.005)
        if self._worker is not None:
            self._worker.cancel()
            # Not `await self._worker` with its CancelledError suppressed: that would swallow the
            # cancellation of whoever waits here.
            await asyncio.wait([self._worker, *self._running])
        self.threads.shutdown(wait=True)

    @contextlib.contextmanager
    def place(self, count: int) -> Iterator[None]:
        """Room for so many examples while a request is read and answered; else Refusal 429."""
        if self.closed:
            raise Refusal(503, 'the server is stopping')
        if self.pending + count > self.queue:
            raise Refusal(
                429, f'{self.pending} examples are waiting already; try again in a second'
            )
        self.pending += count
        try:
            yield
        finally:
            self.pending -= count

    async def submit(self, examples: Sequence[tuple[int, Any]]) -> list[Any]:
        """The answers to (bucket, example) pairs, in their order; raises what their run raised."""
        loop = asyncio.get_running_loop()
        futures = []
        for bucket, example in examples:
            one = _Waiting(example, loop.create_future(), loop.time())
            self._waiting.setdefault(bucket, collections.deque()).append(one)
            futures.append(one.future)
        self._changed.set()
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:  # of a client that went away, or timed out
                future.cancel()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            bucket, free = self._oldest(), self.costs.runners - len(self._running)
            if bucket is None or free < 1:
                self._changed.clear()
                await self._changed.wait()
                continue
            waiting, largest = self._waiting[bucket], self.costs.largest(bucket)
            left = waiting[0].since + self.latency - loop.time()
            lone = self._alone and len(waiting) == 1 and self.pending <= 1
            if left > 0 and not lone and len(waiting) < largest:
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), left)
                continue
            size = self.costs.size_of(bucket, math.ceil(len(waiting) / free))
            taken = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            self._alone = len(taken) == 1
            run = asyncio.create_task(self._answer(bucket, taken, size))
            self._running.add(run)
            run.add_done_callback(self._ended)

    def _ended(self, run: asyncio.Task[None]) -> None:
        self._running.discard(run)
        self._changed.set()

    async def _answer(self, bucket: int, taken: Sequence[_Waiting], size: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            examples = [one.example for one in taken]
            answers = await loop.run_in_executor(self.threads, self._run, examples, bucket, size)
        except Exception as error:  # whatever it is, those who wait must hear of it
            answers = [error] * len(taken)
        for one, answer in zip(taken, answers, strict=True):
            if one.future.done():
                continue
            if isinstance(answer, Exception):
                one.future.set_exception(answer)
            else:
                one.future.set_result(answer)

    def _oldest(self) -> int | None:
        """The bucket whose first example has waited longest; None where nothing waits."""
        for bucket, rows in self._waiting.items():
            if any(one.future.done() for one in rows):  # clients that went away
                left = (one for one in rows if not one.future.done())
                self._waiting[bucket] = collections.deque(left)
        heads = {bucket: rows[0].since for bucket, rows in self._waiting.items() if rows}
        return min(heads, key=heads.__getitem__) if heads else None
