"""Rates by depth and over time, against the tables and formulas of their papers."""

import jax
import numpy as np
import pytest

from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.learning_rates import stlr
from ftjax.models.registry import build
from ftjax.optim.schedule import ScheduleSettings, leaf_rates, plan_factor

DEEP = build('vit', {'image_size': 8, 'patch_size': 4, 'width': 4, 'depth': 12, 'heads': 1})
SHAPES = jax.eval_shape(DEEP.init, jax.random.key(0), DEEP.example_input())
CONSTANT = ScheduleSettings(name='constant', warmup=0.0)

# Learning-rate multipliers for 12 blocks, written out from the released rules: BEiT and MAE scale
# layer i of 13 (0 the embeddings, 13 the head) by d^(13 - i); ELECTRA layer i of 14 by d^(14 - i).
TABLES = {
    'llrd:0.65': {
        'embed': 0.65**13,
        'block_00': 0.65**12,
        'block_05': 0.65**7,
        'block_11': 0.65,
        'norm': 1.0,
        'head': 1.0,
    },
    'llrd_electra:0.8': {
        'embed': 0.8**14,
        'block_00': 0.8**13,
        'block_11': 0.8**2,
        'norm': 1.0,
        'head': 1.0,
    },
    'llrd_zhang:0.95': {'embed': 0.95**13, 'block_00': 0.95**12, 'block_11': 0.95, 'head': 1.0},
    'discriminative:2.6': {'block_00': 2.6**-12, 'block_10': 2.6**-2, 'block_11': 1 / 2.6},
}


@pytest.mark.parametrize('strategy', TABLES)
def test_multipliers_equal_the_published_tables(strategy):
    phase = make_plan(strategy, DEEP, SHAPES).at(0)
    assert set(phase.trainable) == set(phase.leaves)
    for stage, factor in TABLES[strategy].items():
        found = {leaf.multiplier for leaf in phase.leaves.values() if leaf.stage == stage}
        assert len(found) == 1 and found.pop() == pytest.approx(factor, rel=1e-12), stage


def test_the_common_llrd_settings_as_printed():
    """MAE's base model, .65: the lowest block's factor is .0057 and the embeddings' .0037."""
    phase = make_plan('llrd:0.65', DEEP, SHAPES).at(0)
    lowest = {leaf.multiplier for leaf in phase.leaves.values() if leaf.stage == 'block_00'}
    below = {leaf.multiplier for leaf in phase.leaves.values() if leaf.stage == 'embed'}
    assert round(lowest.pop(), 4) == 0.0057 and round(below.pop(), 4) == 0.0037


def test_a_mask_a_rate_rule_and_a_regulariser_combine():
    phase = make_plan('last:4+llrd:0.75+l2_sp', DEEP, SHAPES).at(0)
    assert phase.cut == 'block_08'
    rates = {phase.leaves[path].multiplier for path in phase.trainable}
    assert rates == {1.0, 0.75, 0.75**2, 0.75**3, 0.75**4}


def test_stlr_rises_for_a_tenth_and_ends_at_a_32nd():
    plan = make_plan('stlr', DEEP, SHAPES, run_length=RunLength(1000, 100))
    at = [plan_factor(plan, CONSTANT, step, 1000) for step in (0, 50, 100, 550)]
    assert at == pytest.approx([1 / 32, (1 + 31 / 2) / 32, 1.0, (1 + 31 / 2) / 32])
    assert stlr(1000, 1000, 0.1, 32.0) == pytest.approx(1 / 32)
    assert stlr(50, 1000, 0.1, 32.0) == at[1]


def test_freezeout_freezes_from_half_way_to_the_end():
    plan = make_plan('freezeout', DEEP, SHAPES, run_length=RunLength(1000, 100))
    # 14 layers: the stem, 12 blocks, and all above them.
    times = [(0.8 + 0.2 * i / 13) ** 3 for i in range(14)]
    assert times[0] == pytest.approx(0.512) and times[-1] == 1.0
    starts = [phase.start for phase in plan.phases]
    assert starts == [0, *(int(np.ceil(1000 * t)) for t in times[:-1])]
    for phase, layer in zip(plan.phases[1:], ('embed', *DEEP.blocks), strict=True):
        assert not any(path.split('/')[0] == layer for path in phase.trainable)
    # Half a cosine to each layer's own end; rates are divided by it, so all layers move as far.
    phase = plan.at(256)
    rates = leaf_rates(plan, CONSTANT, 0.1, 256, 1000)
    stem = [r for p, r in zip(phase.trainable, rates, strict=True) if p.startswith('embed/')]
    head = [r for p, r in zip(phase.trainable, rates, strict=True) if p.startswith('head/')]
    assert stem == pytest.approx([0.1 / 0.512 * 0.5] * len(stem), rel=1e-6)
    wave = 0.5 * (1 + np.cos(np.pi * 0.256))
    assert head == pytest.approx([0.1 * wave] * len(head), rel=1e-6)


def test_a_schedule_that_restarts_and_one_that_warms_up_again():
    plan = make_plan('lp_ft:0.5', DEEP, SHAPES, run_length=RunLength(100, 10))
    shape = ScheduleSettings(name='linear', warmup=0.0)
    at = [plan_factor(plan, shape, step, 100) for step in (0, 25, 49, 50, 75)]
    assert at == pytest.approx([1.0, 0.5, 0.02, 1.0, 0.5])
    settings = {'strategy': 'gradual', 'rewarm': 4}
    plan = make_plan(settings, DEEP, SHAPES, run_length=RunLength(100, 10))
    at = [plan_factor(plan, CONSTANT, step, 100) for step in (0, 9, 10, 11, 13, 14, 20)]
    assert at == pytest.approx([1.0, 1.0, 0.25, 0.5, 1.0, 1.0, 0.25])
