"""A run stopped in any phase goes on to the same bits: plans over time, choices, averages."""

import jax
import numpy as np
import pytest
from tiny_runs import VIT as NET
from tiny_runs import initial, noise, splits

from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.loop.fit import fit
from ftjax.training.loop.validation import BestSoFar
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

SETTINGS = OptimizerSettings(learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0)
STRATEGIES = ('gradual',)
SLOW = (
    'autofreeze:3',
    'rifle:3,1+ema:0.5',
    'random_mask:0.1',
    'lisa:1,4+l2_sp',
    'chain_thaw',
    'freezeout',
    'hft',
    'lp_ft',
    'auto_rgn',
    'auto_snr_code',
    'reinit_top:1',
)


DATA = splits(noise, 24, 9, 9)


@pytest.fixture(scope='module')
def variables():
    return initial(NET)


def run(variables, strategy, folder, keep):
    return fit(
        RunSpec(
            NET,
            variables,
            make_plan(strategy, NET, variables, run_length=RunLength(12, 2)),
            DATA,
            optimizer=SETTINGS,
            settings=TrainSettings(steps=12, eval_every=1.0, keep=keep),
            batch_size=12,
            eval_batch_size=9,
        ),
        workdir=folder,
        progress=False,
    )


@pytest.mark.parametrize(
    'strategy', [*STRATEGIES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_stopped_at_every_validation_and_resumed(variables, strategy, tmp_path, monkeypatch):
    keep = 'best' if strategy.startswith('gradual') else 'last'
    whole = run(variables, strategy, tmp_path / 'whole', keep)
    update, count = BestSoFar.update, [0]

    def once(self, *arguments):
        count[0] += 1
        if count[0] % 2 == 0:  # every second validation is lost with the process
            raise KeyboardInterrupt
        return update(self, *arguments)

    monkeypatch.setattr(BestSoFar, 'update', once)
    stops = 0
    while True:
        try:
            parts = run(variables, strategy, tmp_path / 'parts', keep)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops == 5
    for one, two in zip(
        jax.tree.leaves(whole.variables), jax.tree.leaves(parts.variables), strict=True
    ):
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()
    assert whole.validation == parts.validation and whole.history == parts.history
    assert whole.plan.to_json() == parts.plan.to_json()
    assert parts.verification.frozen_unchanged, parts.verification.moved_frozen
