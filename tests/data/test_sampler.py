"""Samplers: exact in every epoch, in turn over epochs, the same from any step on."""

import numpy as np
import pytest

from ftjax import registry
from ftjax.data import Dataset, DataSettings, TrainStream
from ftjax.data.streams.sampler import class_order
from ftjax.errors import UserError

COUNTS = (90, 25, 4, 1)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), COUNTS)).astype(np.int32)


def stream(sampler, seed=0, size=8):
    data = Dataset(
        name='d',
        kind='image',
        inputs=np.zeros((120, 2, 2, 1), np.uint8),
        labels=LABELS,
        class_names=tuple('abcd'),
    )
    return TrainStream(data, size, seed, sampler=sampler)


@pytest.mark.parametrize('sampler,shares', [('balanced', np.ones(4)), ('sqrt', np.sqrt(COUNTS))])
def test_every_epoch_draws_each_class_its_share(sampler, shares):
    run = stream(sampler)
    exact = 120 * shares / shares.sum()
    drawn = np.zeros(120, int)
    for epoch in range(7):
        steps = range(epoch * run.steps_per_epoch, (epoch + 1) * run.steps_per_epoch)
        rows = np.concatenate([run.positions(step) for step in steps])
        counts = np.bincount(LABELS[rows], minlength=4)
        assert len(rows) == 120 and (np.abs(counts - exact) < 1).all()
        np.add.at(drawn, rows, 1)
        for label in range(4):  # in turn: no example twice before all others once
            assert np.ptp(drawn[label == LABELS]) <= 1


def test_what_a_step_sees_hangs_on_seed_and_step_alone():
    one, two = stream('balanced', seed=3), stream('balanced', seed=3)
    want = [one.batch(step)['index'] for step in range(40)]
    later = two.iterate(29)  # as a run that was interrupted goes on
    for step in range(29, 40):
        np.testing.assert_array_equal(next(later)['index'], want[step])
    other = stream('balanced', seed=4)
    assert any((other.batch(step)['index'] != want[step]).any() for step in range(3))
    assert len({tuple(rows) for rows in want}) == 40  # every epoch anew


def test_without_a_sampler_nothing_changes():
    rows = np.concatenate([stream('').positions(step) for step in range(15)])
    assert sorted(rows) == list(range(120))


def test_a_sampler_of_ones_own():
    @registry.register('sampler', 'first_two')
    def first_two(counts):
        """Two classes alone."""
        return np.array([1, 1, 0, 0])

    try:
        rows = class_order('first_two', LABELS, 20, 0)(0)
        assert np.bincount(LABELS[rows], minlength=4).tolist() == [10, 10, 0, 0]
    finally:
        registry.PARTS['sampler'].pop('first_two')


def test_wrong_samplers_are_refused():
    with pytest.raises(UserError, match="did you mean 'balanced'"):
        DataSettings(sampler='balancd')
    with pytest.raises(UserError, match=r'needs one class an example; data\.task is regression'):
        DataSettings(sampler='sqrt', task='regression')
