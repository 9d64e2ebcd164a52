"""A decoder's run that is stopped and goes on has the bits of one that was not."""

import os
import signal

import jax
import numpy as np
import pytest
from lm_mesh import spec

from ftjax.distributed.interrupted import Interrupted
from ftjax.distributed.preemption import stops_on_signals
from ftjax.training.loop.fit import fit
from ftjax.training.loop.step_runner import StepRunner


@pytest.mark.slow
@pytest.mark.parametrize(
    'case',
    [
        {'accumulate': 2},
        {'packed': True, 'accumulate': 2},
        {'freeze': 'lora:2', 'packed': True, 'remat': True},
        {'freeze': 'last:1', 'cache': 'on'},
    ],
    ids=['parts', 'packed', 'adapters', 'stored'],
)
def test_a_stopped_run_goes_on_to_the_same_bits(case, tmp_path, monkeypatch):
    whole = fit(spec(case, tmp_path), tmp_path / 'whole', progress=False)
    plain, part = StepRunner.steps, tmp_path / 'part'

    def stopping(self, *rest):
        loss = plain(self, *rest)
        if self.run_state.done in stops:
            stops.remove(self.run_state.done)
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    stops = [2, 5]
    with monkeypatch.context() as patch:
        patch.setattr(StepRunner, 'steps', stopping)
        for _ in range(2):
            with stops_on_signals(), pytest.raises(Interrupted):
                fit(spec(case, tmp_path), part, progress=False)
    again = fit(spec(case, tmp_path), part, progress=False)
    assert not stops and again.steps == whole.steps == 6
    told = ('step', 'train_loss', 'val_loss')
    assert [[row[name] for name in told] for row in again.history] == [
        [row[name] for name in told] for row in whole.history
    ]
    for one, other in zip(
        jax.tree.leaves(whole.variables), jax.tree.leaves(again.variables), strict=True
    ):
        np.testing.assert_array_equal(one, other)
