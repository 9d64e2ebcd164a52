"""Which batches are made: by costs that are given, and by a clock that is turned by hand."""

import itertools
import os

import numpy as np
import pytest

from ftjax.io.process.own_cores import own_cores
from ftjax.serving.server.batch_costs import (
    LONGEST,
    ROUNDS,
    BatchCosts,
    best_costs,
    measured_seconds,
)


class Machine:
    """Runs that take what they cost on a clock of its own; `slow` is what else goes on."""

    def __init__(self, costs, slow=lambda now: 1.0, cores=1):
        self.costs, self.slow, self.cores, self.now, self.runs = costs, slow, cores, 0.0, []

    def clock(self):
        return self.now

    def run(self, bucket, size, many):
        self.runs.append((bucket, size))
        cores = min(many, self.cores)
        self.now += self.costs[bucket, size] * many / cores * self.slow(self.now)

    def measured(self, sizes, buckets=(0,)):
        return measured_seconds(self.run, buckets, sizes, (1,), self.clock)[1]


def costs_of(per_example, bucket=0):
    return {(bucket, size): size * each for size, each in per_example.items()}


def test_the_quickest_run_of_each_size_counts_and_sizes_take_turns():
    costs = {(b, s): 0.001 * s * (1 + b) for b in (0, 1) for s in (1, 4)}
    machine = Machine(costs)
    found = machine.measured((1, 4), (0, 1))
    assert found == pytest.approx(costs)
    assert machine.runs[:4] == [(0, 1), (0, 4), (0, 1), (0, 4)]
    assert len(machine.runs) == 2 * 2 * (1 + ROUNDS)


def test_the_first_run_of_a_program_does_not_count():
    met = set()

    class Cold(Machine):
        def run(self, bucket, size, many):
            self.now += 0.0 if (bucket, size) in met else 0.3
            met.add((bucket, size))
            super().run(bucket, size, many)

    costs = costs_of({1: 0.7, 8: 0.6})
    assert Cold(costs).measured((1, 8)) == pytest.approx(costs)


@pytest.mark.parametrize(('seconds', 'rounds'), [(0.6, 2), (2.0, 1)])
def test_a_slow_program_is_not_measured_for_long(seconds, rounds):
    costs = {(0, 1): seconds, (0, 2): 2 * seconds}
    machine = Machine(costs)
    assert machine.measured((1, 2)) == pytest.approx(costs)
    assert len(machine.runs) == 2 * (1 + rounds)
    assert machine.now == pytest.approx(3 * seconds * (1 + rounds))
    assert machine.now > LONGEST


def test_another_program_that_starts_meanwhile_changes_no_choice():
    """Measured one size after the other, only the first ones would have been slowed down."""
    costs = costs_of({1: 0.002, 8: 0.0025, 32: 0.003})
    machine = Machine(costs, slow=lambda now: 3.0 if now < 0.1 else 1.0)
    found = machine.measured((1, 8, 32))
    assert found == pytest.approx(costs)
    assert BatchCosts((1, 8, 32), found).worth(0) == (1,)


@pytest.mark.parametrize(
    ('per_example', 'worth'),
    [
        ({1: 10, 8: 11, 32: 12}, (1,)),
        ({1: 10, 8: 10, 32: 10}, (1,)),
        ({1: 10, 8: 9.8, 32: 9.7}, (1,)),  # the first of a batch would wait for nothing
        ({1: 10, 8: 7, 32: 8}, (1, 8)),
        ({1: 10, 8: 12, 32: 6}, (1, 32)),
        ({1: 10, 8: 5, 32: 3}, (1, 8, 32)),
    ],
)
def test_sizes_that_save_no_time_an_example_are_left_out(per_example, worth):
    costs = BatchCosts((1, 8, 32), costs_of(per_example))
    assert costs.worth(0) == worth
    assert costs.largest(0) == worth[-1]


def split(costs, count, bucket=0):
    """The batches that answer so many examples, and what they cost together."""
    sizes = []
    while count > 0:
        sizes.append(costs.size_of(bucket, count))
        count -= sizes[-1]
    return sizes, sum(costs.seconds[bucket, size] for size in sizes)


def cheapest(costs, count, bucket=0):
    """By trying every set of batches."""
    sets = (
        chosen
        for many in range(1, count + 1)
        for chosen in itertools.combinations_with_replacement(costs.sizes, many)
        if sum(chosen) >= count
    )
    return min(sum(costs.seconds[bucket, size] for size in chosen) for chosen in sets)


@pytest.mark.parametrize('seed', range(8))
def test_batches_cost_no_more_than_any_others_and_never_more_than_one_a_call(seed):
    rng = np.random.default_rng(seed)
    sizes = (1, 3, 4, 8)
    seconds = {(0, size): float(size ** rng.uniform(0.3, 1.1)) for size in sizes}
    costs = BatchCosts(sizes, seconds)
    for count in range(1, 10):
        chosen, spent = split(costs, count)
        assert spent <= count * seconds[0, 1] * (1 + 1e-9), chosen
        # Sizes that save less than a twentieth are not used: so much is given away at most.
        assert spent <= cheapest(costs, count) / 0.95**2 * (1 + 1e-9), chosen


def test_padding_is_taken_where_it_is_cheaper_and_else_a_batch_is_split():
    cpu = BatchCosts((1, 8, 32), costs_of({1: 2.0, 8: 1.0, 32: 0.9}))
    assert [cpu.size_of(0, count) for count in (1, 3, 5, 16, 30, 50)] == [1, 1, 8, 8, 32, 32]
    assert split(cpu, 11)[0] == [8, 1, 1, 1]
    accelerator = BatchCosts((1, 8, 32), dict.fromkeys(cpu.seconds, 2.0))
    assert [accelerator.size_of(0, count) for count in (1, 3, 9, 50)] == [1, 8, 32, 32]


def test_lengths_are_chosen_for_apart_and_one_that_was_not_measured_is_padded():
    both = costs_of({1: 1.0, 8: 1.2}, 16) | costs_of({1: 3.0, 8: 1.0}, 64)
    costs = BatchCosts((1, 8), both)
    assert (costs.worth(16), costs.worth(64), costs.worth(128)) == ((1,), (1, 8), (1, 8))
    assert [costs.size_of(bucket, 5) for bucket in (16, 64, 128)] == [1, 8, 8]
    assert costs.size_of(128, 1) == 1 and costs.size_of(128, 20) == 8


def chosen(cores, tried, costs):
    machine = Machine(costs, cores=cores)
    sizes = sorted({size for _, size in costs})
    return best_costs(sizes, measured_seconds(machine.run, (0,), sizes, tried, machine.clock))


def test_as_many_run_at_once_as_answer_most_examples():
    costs = costs_of({1: 0.02, 8: 0.021})
    assert chosen(1, (1, 4), costs).runners == 1  # four at once save nothing on one core
    several = chosen(4, (1, 4), costs)
    assert (several.runners, several.worth(0)) == (4, (1,))
    assert several.seconds[0, 1] == pytest.approx(0.02 / 4)


def test_a_large_batch_that_takes_all_cores_is_no_match_for_one_example_a_core():
    """Alone the batch is quicker an example; with both cores busy it is not."""

    class TwoCores(Machine):
        def run(self, bucket, size, many):
            alone = {1: 0.024, 32: 32 * 0.0175}[size]
            busy = {1: 0.024, 32: 32 * 0.035}[size]  # of one of two at once
            self.now += alone if many == 1 else busy

    machine = TwoCores({})
    measured = measured_seconds(machine.run, (0,), (1, 32), (1, 2), machine.clock)
    assert BatchCosts((1, 32), measured[1]).worth(0) == (1, 32)
    found = best_costs((1, 32), measured)
    assert (found.runners, found.worth(0)) == (2, (1,))


@pytest.mark.parametrize(
    ('text', 'cores'),
    [('max 100000', 64), ('200000 100000', 2), ('150000 100000', 2), ('1000 100000', 1), ('x', 64)],
)
def test_a_limit_of_the_container_counts(text, cores, tmp_path, monkeypatch):
    (tmp_path / 'cpu.max').write_text(text)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(64)), raising=False)
    assert own_cores(tmp_path / 'cpu.max') == cores
    assert own_cores(tmp_path / 'none') == 64
