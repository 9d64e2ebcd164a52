"""The step is traced once a phase, and not again by a second run of the same shapes."""

import collections

import jax
import numpy as np
import pytest

from ftjax.data import Dataset, Splits
from ftjax.freezing import make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.preprocessing.images import Preprocessing
from ftjax.training.loop.fit import fit
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.step.train_step import TrainStep
from ftjax.xla import program_cache

# A width of its own: no other test's programs fit it.
NET = build(
    'vit',
    {'image_size': 8, 'patch_size': 4, 'width': 12, 'depth': 1, 'heads': 2, 'num_classes': 3},
)


def split(count, seed):
    return Dataset(
        name='d',
        kind='image',
        inputs=np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8),
        labels=np.arange(count) % 3,
        class_names=('a', 'b', 'c'),
    )


@pytest.fixture
def traces(monkeypatch):
    """How often the step of a phase has been called by Python, which is by a trace."""
    counts, call = collections.Counter(), TrainStep.__call__

    def counted(step, *inputs):
        counts[step.phase] += 1
        return call(step, *inputs)

    monkeypatch.setattr(TrainStep, '__call__', counted)
    monkeypatch.setattr(program_cache, '_PROGRAMS', type(program_cache._PROGRAMS)())
    return counts


@pytest.mark.parametrize('calls', [pytest.param(1, marks=pytest.mark.slow), 2])
def test_one_trace_a_phase_and_none_in_a_second_run(calls, traces):
    variables = jax.jit(NET.init)(jax.random.key(0), NET.example_input())
    data = Splits(train=split(12, 0), val=split(6, 1), test=split(6, 2))

    def run(seed):
        plan = make_plan('gradual', NET, variables, run_length=RunLength(4, 2))
        fit(
            RunSpec(
                NET,
                variables,
                plan,
                data,
                optimizer=OptimizerSettings(learning_rate=1e-2),
                settings=TrainSettings(epochs=2.0, steps_per_call=calls, cache='off'),
                preprocessing=Preprocessing(image_size=(8, 8)),
                batch_size=6,
                seed=seed,
            ),
            progress=False,
        )
        return plan

    phases = run(0).phases
    assert [phase.start for phase in phases] == [0, 2]
    once = {phase.program.without_noise(): 1 for phase in phases}
    assert dict(traces) == once
    run(1)
    assert dict(traces) == once
