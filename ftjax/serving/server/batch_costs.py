"""What a batch costs, as measured, and which batch sizes are worth their time.

Twice the examples may take less than twice the time, just as long, or longer: that depends on the
network, the processor and the number of its cores. On a CPU a large batch is often quicker because
it takes a second core, which under load has work of its own, and it leaves the caches. So it is
measured, size beside size, with as many batches at once as will run, and a batch is made only where
it takes less time than the same examples in smaller ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

ROUNDS = 5
"""Runs of each size, of which the quickest counts."""
LONGEST = 1.5
"""Seconds of measuring all lengths, beyond which a size has two runs; beyond twice of it, one."""
HOPELESS = 2.0
"""Times the time an example of the best batch, from which on a size is not run again."""
GAIN = 0.05
"""Share of the time that a batch has to save: the first of its examples wait for the last."""
Key = tuple[int, int]
"""(length of texts or 0, examples a batch)."""


def measured_seconds(
    run: Callable[[int, int, int], object],
    buckets: Iterable[int],
    sizes: Sequence[int],
    runners: Sequence[int] = (1,),
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, dict[Key, float]]:
    """Seconds a batch: by how many run at once, then by length and size; the quickest run counts.

    Sizes take turns: another program that runs for a while makes all of them slower, not one.

    Args:
      run: of (length, size, batches at once); compiled already.
      buckets: lengths to measure.
      sizes: examples a batch.
      runners: batches at once to try.
      clock: seconds that pass.
    """
    found: dict[int, dict[Key, float]] = {many: {} for many in runners}
    buckets = tuple(buckets)
    for bucket in buckets:
        for size in sizes:
            run(bucket, size, 1)  # the first run takes longer: memory is asked for
        began, left = clock(), [(many, size) for size in sizes for many in runners]
        for number in range(ROUNDS):
            for many, size in left:
                before = clock()
                run(bucket, size, many)
                spent = (clock() - before) / many
                found[many][bucket, size] = min(spent, found[many].get((bucket, size), spent))
            longest = LONGEST / len(buckets) * (1 if number else 2)
            if clock() - began > longest:
                break
            rates = {(many, size): found[many][bucket, size] / size for many, size in left}
            left = [one for one in left if rates[one] < HOPELESS * min(rates.values())]
    return found


class _Least(NamedTuple):
    """What some examples cost in the best batches."""

    seconds: float
    padding: int
    size: int
    """Of the first batch."""


class BatchCosts:
    """Chooses batches by their measured time; see `size_of`."""

    def __init__(
        self, sizes: Sequence[int], seconds: Mapping[Key, float] | None = None, runners: int = 1
    ):
        """Costs of batches.

        Args:
          sizes: examples a batch, ascending.
          seconds: a batch of each length that was measured, at every size; {} where none was.
          runners: how many batches run at once.
        """
        self.sizes, self.seconds, self.runners = tuple(sizes), dict(seconds or {}), runners
        self._worth: dict[int, tuple[int, ...]] = {}
        self._least: dict[int, list[_Least]] = {}

    def worth(self, bucket: int) -> tuple[int, ...]:
        """The sizes whose full batch takes less time than the same examples in smaller ones.

        The smallest is always one of them; where nothing was measured, all are.

        >>> BatchCosts((1, 4, 8), {(0, 1): 1.0, (0, 4): 2.0, (0, 8): 9.0}).worth(0)
        (1, 4)
        """
        if bucket not in self._worth:
            known = all((bucket, size) in self.seconds for size in self.sizes)
            self._worth[bucket] = self._cheaper(bucket) if known else self.sizes
        return self._worth[bucket]

    def largest(self, bucket: int) -> int:
        """Examples of the largest batch that is worth it."""
        return self.worth(bucket)[-1]

    def told(self, buckets: Iterable[int]) -> str:
        """The sizes that are used, for people.

        >>> BatchCosts((1, 4, 8), {(0, 1): 1.0, (0, 4): 2.0, (0, 8): 9.0}).told([0])
        '1 at once: batches of 1, 4'
        """
        rows = []
        for bucket in buckets:
            length = f' of up to {bucket} tokens' if bucket else ''
            rows.append(f'batches of {", ".join(map(str, self.worth(bucket)))}{length}')
        return f'{self.runners} at once: {"; ".join(rows)}'

    def size_of(self, bucket: int, count: int) -> int:
        """The size of the first batch of those that answer `count` waiting examples the soonest.

        A batch that is not full costs as much as a full one: padding is taken where it is cheaper
        than two batches (as on an accelerator), and nowhere else.
        """
        sizes = self.worth(bucket)
        if count >= sizes[-1] or any((bucket, size) not in self.seconds for size in sizes):
            return next((size for size in sizes if size >= count), sizes[-1])
        if bucket not in self._least:
            self._least[bucket] = self._table(bucket, sizes, sizes[-1])
        return self._least[bucket][count].size

    def example_seconds(self) -> float:
        """Of an example in the best batch, summed over the lengths that were measured."""
        buckets = {bucket for bucket, _ in self.seconds}
        return sum(min(self.seconds[b, size] / size for size in self.sizes) for b in buckets)

    def _cheaper(self, bucket: int) -> tuple[int, ...]:
        kept: tuple[int, ...] = self.sizes[:1]
        for size in self.sizes[1:]:
            parts = self._table(bucket, kept, size)[size].seconds
            if self.seconds[bucket, size] < (1 - GAIN) * parts:
                kept += (size,)
        return kept

    def _table(self, bucket: int, sizes: tuple[int, ...], most: int) -> list[_Least]:
        """The least that 0 to `most` examples cost."""
        table = [_Least(0.0, 0, 0)]
        for count in range(1, most + 1):
            options = []
            for size in sizes:
                rest = table[max(0, count - size)]
                padding = rest.padding + max(0, size - count)
                options.append(_Least(self.seconds[bucket, size] + rest.seconds, padding, size))
            # The largest batch goes first: what is left of them may be joined by others.
            table.append(min(options, key=lambda one: (one.seconds, one.padding, -one.size)))
        return table


def best_costs(sizes: Sequence[int], measured: Mapping[int, Mapping[Key, float]]) -> BatchCosts:
    """With as many batches at once as answer most examples a second.

    Args:
      sizes: examples a batch, ascending.
      measured: see `measured_seconds`.
    """
    best, *others = (BatchCosts(sizes, measured[many], many) for many in sorted(measured))
    for other in others:
        if other.example_seconds() < (1 - GAIN) * best.example_seconds():
            best = other
    return best
