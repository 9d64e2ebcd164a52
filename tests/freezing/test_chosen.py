"""Strategies that look at the data, against their definitions computed by hand."""

import json
import types

import numpy as np
import pytest
from tiny_networks import network

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.data_driven_choice import Choice
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.registry import strategy
from ftjax.freezing.strategies.data_driven_blocks import autofreeze, subtuning
from ftjax.freezing.strategies.data_driven_entries import fisher_mask
from ftjax.freezing.strategies.data_driven_rates import auto_rgn, auto_snr_code, auto_snr_paper
from ftjax.io.files.atomic import read_json
from ftjax.runs.run_folder import write_choices

NET, VARIABLES = network('vit')
ANATOMY = Anatomy.of(NET, VARIABLES)


def probe_of(gradients=None, params=None, recorded=None, trial=None, examples=None):
    """A probe with made-up answers."""
    draw = np.random.default_rng(0)
    params = params or {p: draw.normal(size=s) for p, s in ANATOMY.shapes.items()}
    gradients = gradients or [
        {p: draw.normal(size=s) for p, s in ANATOMY.shapes.items()} for _ in range(5)
    ]
    return types.SimpleNamespace(
        seed=0,
        params=params,
        recorded=recorded or {},
        gradients=lambda n: iter(gradients[:n]),
        example_gradients=lambda n: iter(examples),
        trial=trial,
    )


def test_auto_rgn_is_the_relative_norm_over_the_largest():
    draw = np.random.default_rng(1)
    gradients = [{p: draw.normal(size=s) for p, s in ANATOMY.shapes.items()} for _ in range(5)]
    probe = probe_of(gradients)
    weights = auto_rgn(ANATOMY, probe, (), 0, 5, 0.01).weights
    ratio = {
        p: np.mean([np.linalg.norm(g[p]) / np.linalg.norm(probe.params[p]) for g in gradients])
        for p in ANATOMY.shapes
        if p not in ANATOMY.norms
    }
    assert max(weights.values()) == 1.0
    assert all(weights[p] == 0.0 for p in ANATOMY.norms)
    for path, value in ratio.items():
        assert weights[path] == pytest.approx(value / max(ratio.values()))


def test_auto_rgn_is_finite_with_a_tensor_of_zeros():
    probe = probe_of()
    probe.params['head/dense/bias'] = np.zeros(ANATOMY.shapes['head/dense/bias'])
    weights = auto_rgn(ANATOMY, probe, (), 0, 5, 0.01).weights
    assert all(np.isfinite(value) for value in weights.values()) and max(weights.values()) == 1.0
    others = [value for path, value in weights.items() if path not in ANATOMY.norms]
    assert min(others) > 0, 'the tensor of zeros must not take the rate of all others away'


def test_auto_snr_code_divides_by_the_variance_over_outputs():
    path = 'block_00/attn/query/kernel'
    shape = ANATOMY.shapes[path]
    loud = np.ones(shape) + 0.01 * np.random.default_rng(0).normal(size=shape)
    quiet = np.tile(np.linspace(-1, 1, shape[-1]), (*shape[:-1], 1))
    for gradient, chosen in ((loud, 1.0), (0.1 * quiet, 0.0)):
        zero = {p: np.zeros(s) for p, s in ANATOMY.shapes.items()}
        zero['head/dense/kernel'] = np.ones(ANATOMY.shapes['head/dense/kernel'])
        choice = auto_snr_code(ANATOMY, probe_of([{**zero, path: gradient}]), (), 0, 1, 0.95)
        by_hand = (gradient**2 / (gradient.var(-1, ddof=1, keepdims=True) + 1e-8)).mean()
        assert choice.evidence['snr'][path] == pytest.approx(by_hand)
        assert choice.weights[path] == chosen == float(by_hand >= 0.95)


def test_auto_snr_paper_takes_moments_over_examples():
    draw = np.random.default_rng(0)
    stacks = [
        {p: draw.normal(size=(4, *s)) + 3 for p, s in ANATOMY.shapes.items()} for _ in range(2)
    ]
    choice = auto_snr_paper(ANATOMY, probe_of(examples=stacks), (), 0, 8, 0.95)
    whole = np.concatenate([part['head/dense/kernel'] for part in stacks])
    by_hand = (whole.mean(0) ** 2 / (whole.var(0) + 1e-8)).mean()
    assert choice.evidence['snr']['head/dense/kernel'] == pytest.approx(by_hand)


def test_autofreeze_freezes_up_to_the_first_block_at_the_median():
    groups = ['embed', *NET.blocks]

    def recorded(norms):
        return {
            p: np.full(
                s,
                norms[p.split('/')[0]]
                / sum(
                    np.prod(t)
                    for q, t in ANATOMY.shapes.items()
                    if q.split('/')[0] == p.split('/')[0]
                ),
            )
            for p, s in ANATOMY.shapes.items()
            if p.split('/')[0] in norms
        }

    first = dict.fromkeys(groups, 1.0)
    one = autofreeze(ANATOMY, probe_of(recorded=recorded(first)), (), 4, 3, 50.0)
    assert all(one.weights.values()) and one.evidence['norms'] == pytest.approx([1.0] * 4)
    # Changes .1, .4, .2, .3: the median is .25, and block_00 is the first at or above it.
    second = dict(zip(groups, (0.9, 1.4, 0.8, 1.3), strict=True))
    two = autofreeze(ANATOMY, probe_of(recorded=recorded(second)), (one,), 8, 3, 50.0)
    assert two.evidence['changes'] == pytest.approx([0.1, 0.4, 0.2, 0.3])
    closed = {p.split('/')[0] for p, weight in two.weights.items() if not weight}
    assert closed == {'embed'}


def test_subtuning_adds_the_best_block_while_it_gains():
    gains = {'embed': 0.0, 'block_00': 0.05, 'block_01': 0.2, 'block_02': 0.005}
    asked = []

    def trial(leaves, folds, epochs):
        asked.append((folds, epochs))
        stages = {p.split('/')[0] for p in leaves}
        return 0.5 + sum(gain for stage, gain in gains.items() if stage in stages)

    choice = subtuning(ANATOMY, probe_of(trial=trial), (), 0, 0.01, 3, 6.0)
    assert choice.evidence['chosen'] == ['block_01', 'block_00']
    assert len(asked) == 1 + 4 + 3 + 2 and set(asked) == {(3, 6.0)}
    open_ = {p.split('/')[0] for p, weight in choice.weights.items() if weight}
    assert open_ == {'block_00', 'block_01', 'norm', 'head'}


def test_fisher_mask_takes_the_entries_with_the_highest_mean_square():
    draw = np.random.default_rng(0)
    stack = {p: draw.normal(size=(8, *s)) for p, s in ANATOMY.shapes.items()}
    choice = fisher_mask(ANATOMY, probe_of(examples=[stack]), (), 0, 0.1, 8)
    trunk = sorted(set(ANATOMY.shapes) - ANATOMY.head)
    fisher = np.concatenate([(stack[p] ** 2).mean(0).ravel() for p in trunk])
    limit = np.sort(fisher)[::-1][choice.evidence['entries'] - 1]
    assert choice.evidence['entries'] == round(0.1 * fisher.size)
    for path in trunk:
        mask = choice.entries.get(path, np.full(ANATOMY.shapes[path], bool(choice.weights[path])))
        assert np.array_equal(mask, (stack[path] ** 2).mean(0) >= limit)


def test_later_choices_start_from_the_plan_and_not_from_each_other():
    plan = make_plan('auto_rgn+llrd:0.5', NET, VARIABLES)
    path = 'block_02/mlp/fc1/kernel'
    factor = plan.at(0).leaves[path].multiplier
    weights = dict.fromkeys(plan.at(0).trainable, 1.0)
    plan = plan.with_choice(Choice(0, {**weights, path: 0.5}))
    assert plan.at(0).leaves[path].multiplier == factor * 0.5
    plan = plan.with_choice(Choice(10, {**weights, path: 0.25}))
    assert plan.at(10).leaves[path].multiplier == factor * 0.25
    assert plan.at(9).leaves[path].multiplier == factor * 0.5


def test_a_choice_comes_out_of_a_checkpoint_in_the_order_it_had():
    evidence = {'rounds': [{'embed': 0.1, 'block_00': float('-inf')}], 'by_stage': {'b': 1.0}}
    choice = Choice(3, {'z': 0.5, 'a': 1.0}, evidence, {'z': np.array([True, False])})
    again = Choice.from_saved(choice.to_saved())
    assert json.dumps(again.to_json()) == json.dumps(choice.to_json())
    old = {'step': 3, 'weights': {'a': 1.0}, 'evidence': {}, 'entries': {}}  # of earlier versions
    assert Choice.from_saved(old).weights == {'a': 1.0}


@pytest.mark.parametrize(
    ('freeze', 'why'),
    [
        ('last:1+autofreeze', 'autofreeze: nothing in embed'),
        ({'strategy': 'norm+auto_rgn', 'head': 'freeze'}, 'none of them trains'),
        ({'strategy': 'norm+auto_snr_code', 'head': 'freeze'}, 'none of them trains'),
    ],
)
def test_what_leaves_no_choice_is_refused_before_the_run(freeze, why):
    with pytest.raises(UserError, match=why):
        make_plan(freeze, NET, VARIABLES)


def test_subtuning_begins_with_the_best_block_where_nothing_above_may_train():
    tried = []

    def trial(open_, folds, epochs):
        del folds, epochs
        assert open_
        tried.append(open_)
        return 0.5 + 0.1 * any(path.startswith('block_01') for path in open_)

    inside = ANATOMY.within('block_00', 'block_01')
    probe = probe_of(params=dict.fromkeys(inside, 0.0), trial=trial)
    choice = subtuning(ANATOMY, probe, (), 0, 0.01, 3, 6.0)
    assert choice.evidence['chosen'] == ['block_01'] and choice.evidence['accuracy'] == 0.6
    assert len(tried) == 3 and choice.evidence['by_stage']['embed'] == 0.0


def test_a_strategy_that_gives_no_evidence_leaves_a_folder(tmp_path):
    made = (Choice(0, {'head/dense/kernel': 1.0}),)
    plan = types.SimpleNamespace(to_json=dict, choices=made)
    write_choices(tmp_path, plan)
    assert read_json(tmp_path / 'choices.json')[0]['weights'] == made[0].weights
    assert not (tmp_path / 'choices.png').exists()


def test_a_strategy_that_decides_from_data_must_say_when():
    with pytest.raises(UserError, match="'mine' decides from data and does not say when"):
        strategy('mine', 'data_driven')
