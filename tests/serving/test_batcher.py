"""Batches of many requests: full ones, bounded queues, timeouts, an end that loses nothing."""

import asyncio
import threading
import time

import pytest

from ftjax.errors import UserError
from ftjax.serving.server.batch_costs import BatchCosts
from ftjax.serving.server.batcher import Batcher
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.server_settings import ServerSettings


class Runs:
    """Doubles numbers; notes (numbers, bucket, size) of each batch; waits for `gate`."""

    def __init__(self):
        self.seen, self.gate = [], threading.Event()
        self.gate.set()

    def __call__(self, examples, bucket, size):
        self.gate.wait(10)
        self.seen.append((list(examples), bucket, size))
        return [ValueError('odd one') if x < 0 else 2 * x for x in examples]


def run(work, runs, sizes=(1, 4), latency=0.05, queue=8):
    async def whole():
        batcher = Batcher(runs, sizes, latency, queue)
        batcher.start()
        try:
            return await work(batcher)
        finally:
            runs.gate.set()
            await batcher.close()

    return asyncio.run(whole())


def test_requests_share_a_batch_that_is_padded_to_the_next_size():
    runs = Runs()

    async def work(batcher):
        return await asyncio.gather(*(batcher.submit([(0, x)]) for x in (1, 2, 3)))

    assert run(work, runs) == [[2], [4], [6]]
    assert runs.seen == [([1, 2, 3], 0, 4)]


def test_a_full_batch_does_not_wait_and_a_lone_example_waits_for_the_budget_only():
    runs = Runs()

    async def work(batcher):
        began = time.monotonic()
        await batcher.submit([(0, x) for x in range(4)])
        full = time.monotonic() - began
        await batcher.submit([(0, 9)])
        return full, time.monotonic() - began - full

    full, alone = run(work, runs, latency=0.4)
    assert full < 0.4 <= alone
    assert [size for _, _, size in runs.seen] == [4, 1]


def test_lengths_are_not_mixed_and_each_gets_its_own_answer():
    runs = Runs()

    async def work(batcher):
        return await batcher.submit([(16, 1), (32, 2), (16, 3)])

    assert run(work, runs) == [2, 4, 6]
    assert sorted(runs.seen) == [([1, 3], 16, 4), ([2], 32, 1)]


def test_one_bad_example_fails_alone():
    runs = Runs()

    async def work(batcher):
        asked = (batcher.submit([(0, x)]) for x in (1, -1, 3))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = run(work, runs)
    assert (first, third) == ([2], [6])
    assert isinstance(second, ValueError)
    assert len(runs.seen) == 1


def test_a_full_queue_is_said_at_once_and_room_comes_back():
    runs = Runs()
    runs.gate.clear()

    async def work(batcher):
        with batcher.place(8):
            with pytest.raises(Refusal) as refused, batcher.place(1):
                pass
            assert refused.value.status == 429
        with batcher.place(8):
            pass

    run(work, runs)


def test_examples_of_a_client_that_gave_up_are_not_run():
    runs = Runs()
    runs.gate.clear()

    async def work(batcher):
        first = asyncio.create_task(batcher.submit([(0, 1)]))
        await asyncio.sleep(0.05)  # its batch is under way
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.submit([(0, 2)]), 0.05)
        runs.gate.set()
        assert await first == [2]
        assert await batcher.submit([(0, 3)]) == [6]

    run(work, runs, latency=0.0)
    assert [2] not in [examples for examples, _, _ in runs.seen]


def test_closing_answers_what_was_accepted_and_refuses_the_rest():
    runs = Runs()
    runs.gate.clear()

    async def work(batcher):
        async def asked(x):
            with batcher.place(1):
                return await batcher.submit([(0, x)])

        tasks = [asyncio.create_task(asked(x)) for x in range(6)]
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.02)
        with pytest.raises(Refusal, match='stopping'), batcher.place(1):
            pass
        runs.gate.set()
        await closing
        return await asyncio.gather(*tasks)

    assert run(work, runs) == [[2 * x] for x in range(6)]


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'batch_sizes': (8, 1)}, 'ascending'),
        ({'batch_sizes': ()}, 'ascending'),
        ({'runners': -1}, 'runners is -1'),
        ({'port': 70000}, 'port is 70000'),
        ({'latency_ms': -1}, 'latency_ms'),
        ({'timeout': 0}, 'timeout is 0'),
        ({'timeout': float('inf')}, 'timeout is inf'),
        ({'queue': 10}, 'never holds'),
        ({'token': 'short'}, 'token is short'),
    ],
)
def test_settings_that_cannot_work(changes, said):
    with pytest.raises(UserError, match=said):
        ServerSettings(**changes)


def test_a_lone_client_does_not_wait_once_it_is_seen_to_be_alone():
    runs = Runs()

    async def work(batcher):
        await batcher.submit([(0, x) for x in range(4)])
        await batcher.submit([(0, 8)])  # others may follow those four: it waits for them
        began = time.monotonic()
        for x in range(5):
            await batcher.submit([(0, x)])
        return time.monotonic() - began

    assert run(work, runs, latency=0.4) < 0.4


def test_what_is_left_of_a_split_batch_is_answered_too():
    runs = Runs()

    async def work(batcher):
        batcher.costs = BatchCosts((1, 4, 16), {(0, 1): 1.0, (0, 4): 1.0, (0, 16): 16.0})
        return await batcher.submit([(0, x) for x in range(10)])

    assert run(work, runs, sizes=(1, 4, 16)) == [2 * x for x in range(10)]
    assert [(examples, size) for examples, _, size in runs.seen] == [
        ([0, 1, 2, 3], 4),
        ([4, 5, 6, 7], 4),
        ([8, 9], 4),
    ]


def test_nobody_waits_for_a_batch_that_is_not_worth_it():
    runs = Runs()

    async def work(batcher):
        batcher.costs = BatchCosts((1, 4), {(0, 1): 1.0, (0, 4): 5.0})
        began = time.monotonic()
        assert await batcher.submit([(0, x) for x in range(3)]) == [0, 2, 4]
        return time.monotonic() - began

    assert run(work, runs, latency=0.4) < 0.4
    assert [size for _, _, size in runs.seen] == [1, 1, 1]


def test_batches_at_once_share_what_waits():
    runs, most, now = Runs(), [], [0]

    def run_one(examples, bucket, size):
        now[0] += 1
        most.append(now[0])
        time.sleep(0.05)
        now[0] -= 1
        return runs(examples, bucket, size)

    async def work(batcher):
        cheap = {(0, 1): 1.0, (0, 4): 2.0, (0, 16): 3.0}
        batcher.costs = BatchCosts((1, 4, 16), cheap, runners=2)
        return await batcher.submit([(0, x) for x in range(8)])

    async def whole():
        batcher = Batcher(run_one, (1, 4, 16), 0.0, 64)
        batcher.start()
        try:
            return await work(batcher)
        finally:
            await batcher.close()

    assert asyncio.run(whole()) == [2 * x for x in range(8)]
    assert sorted(examples for examples, _, _ in runs.seen) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert max(most) == 2


def test_clients_that_went_away_make_no_batch_larger():
    runs = Runs()
    runs.gate.clear()

    async def work(batcher):
        first = asyncio.create_task(batcher.submit([(0, 1)]))
        await asyncio.sleep(0.05)  # its batch is under way
        left = [asyncio.create_task(batcher.submit([(0, x)])) for x in (2, 3, 4)]
        stays = asyncio.create_task(batcher.submit([(0, 5)]))
        await asyncio.sleep(0)
        for task in left:
            task.cancel()
        await asyncio.sleep(0)
        runs.gate.set()
        assert (await first, await stays) == ([2], [10])

    run(work, runs, latency=0.0)
    assert runs.seen == [([1], 0, 1), ([5], 0, 1)]


def test_who_waits_for_the_end_can_be_cancelled():
    """A cancellation that came while a service was closed was lost: the server never ended."""

    async def whole():
        batcher = Batcher(Runs(), (1,), 0.05, 8)
        batcher.start()
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)  # it waits for the worker now
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    asyncio.run(asyncio.wait_for(whole(), 10))
