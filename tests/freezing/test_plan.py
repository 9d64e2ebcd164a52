"""The plan: the cut, modes, errors with the nearest name, and its table."""

import jax
import pytest

from ftjax.errors import UserError
from ftjax.freezing import combine, make_plan, partition, strategy
from ftjax.freezing.plan.table import plan_table
from ftjax.freezing.registry import catalogue, parse
from ftjax.freezing.rules import assign
from ftjax.models.registry import build
from ftjax.models.stages import Mode
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.registry import PARTS

NET = build('vit', {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 3, 'heads': 2})
SHAPES = jax.eval_shape(NET.init, jax.random.key(0), NET.example_input())


def test_the_cut_is_the_first_stage_that_trains():
    cuts = {'full': 'embed', 'head': 'head', 'last:1': 'block_02', 'bitfit': 'embed'}
    for text, cut in {**cuts, 'last:0': 'norm', 'block:2': 'block_01'}.items():
        assert make_plan(text, NET, SHAPES).at(0).cut == cut


def test_frozen_stages_run_without_noise_and_trained_ones_with():
    modes = make_plan('last:1', NET, SHAPES).at(0).modes
    assert modes['embed'] == Mode() and not modes['block_02'].deterministic
    assert all(
        mode.deterministic for mode in make_plan('block:1', NET, SHAPES).at(0).modes.values()
    )


def test_block_keeps_a_head_of_the_same_classes_frozen():
    trained = make_plan('block:2', NET, SHAPES, head_is_new=False).at(0).trainable
    assert {path.split('/')[0] for path in trained} == {'block_01'}
    both = make_plan({'strategy': 'block:2', 'head': 'train'}, NET, SHAPES, head_is_new=False)
    assert any(path.startswith('head/') for path in both.at(0).trainable)


def test_rules_give_groups_and_multipliers():
    rules = [('head/.*', 'head'), ('block_02/.*', 'top'), ('.*', 'frozen')]
    phase = make_plan({'rules': rules, 'multipliers': {'top': 0.1}}, NET, SHAPES).at(0)
    assert phase.cut == 'block_02' and set(phase.multipliers) == {0.1, 1.0}


@pytest.mark.parametrize(
    ('freeze', 'message'),
    [
        ('hed', 'head'),
        ('last:x', 'whole number'),
        ('last:1,2', 'takes k'),
        ('last:9', 'the network has 3'),
        ('block:4', 'blocks 1 to 3'),
        ('', 'expected a strategy'),
        ({'rules': [('blok_02/.*', 'top'), ('.*', 'frozen')]}, 'block_02'),
        ({'rules': [('.*', 'frozen')]}, 'trains nothing'),
        ({'rules': [('head/.*', 'head')]}, 'matches no freeze rule'),
        ({'rules': [('.*', 'a'), ('head/.*', 'b')]}, 'earlier rules'),
        ({'rules': [('(', 'a')]}, 'regular expression'),
        ({'strategy': 'full', 'norms': 'frozen'}, 'norm'),
        ({'strategy': 'full', 'norm': 'freeze'}, 'frozen'),
        ({'rules': [('.*', 'all')], 'multipliers': {'al': 2.0}}, 'all'),
        ({'strategy': 'full', 'multipliers': {'all': 2.0}}, 'expected freeze.rules'),
        ('reinit_top:1+wise_ft', 'norm/.*|block_02/.* is re-initialised in each run'),
        ('anb:1+soup_uniform:2', 'is re-initialised in each run'),
        ({'rules': [('.*', 'all')], 'strategy': 'ema'}, 'both rules and strategy'),
        ({'phases': [(None, 'full')], 'multipliers': {'all': 2.0}}, 'the phase that has rules'),
    ],
)
def test_mistakes_are_named(freeze, message):
    with pytest.raises(UserError, match=message):
        make_plan(freeze, NET, SHAPES)


def test_a_rate_of_zero_names_the_strategy_to_use():
    with pytest.raises(UserError, match='freeze'):
        OptimizerSettings(learning_rate=0.0)


def test_every_strategy_says_what_it_does_and_parses_as_its_example():
    for found in catalogue().values():
        assert found.summary.endswith('.')
        assert str(parse(found.example)[0]) == found.example


def test_a_strategy_of_ones_own(monkeypatch):
    monkeypatch.setitem(PARTS, 'strategy', dict(catalogue()))

    @strategy('ends', 'mask', k=1)
    def ends(net, k):
        """The first k blocks, the last k blocks, and the head."""
        return net.within(*net.blocks[:k], *net.blocks[-k:]) | net.head

    trained = make_plan('ends:1', NET, SHAPES).at(0).trainable
    assert {path.split('/')[0] for path in trained} == {'block_00', 'block_02', 'head'}


def test_partition_and_combine_are_inverse():
    tree = {'a': {'w': 1, 'b': 2}, 'c': {'w': 3}}
    trainable, frozen = partition(tree, {'a/w', 'c/w'})
    assert trainable == {'a/w': 1, 'c/w': 3} and combine(trainable, frozen) == tree
    with pytest.raises(UserError, match='a/x'):
        partition(tree, {'a/x'})


def test_first_match_wins():
    groups = assign(['a/bias', 'a/kernel'], [('.*bias', 'bias'), ('a/.*', 'rest')])
    assert groups == {'a/bias': 'bias', 'a/kernel': 'rest'}


def test_the_table_shows_both_sides_of_the_cut():
    text = plan_table(make_plan('last:1', NET, SHAPES), 1e-3)
    assert 'gradients stop between block_01 and block_02' in text
    lines = text.split('\n')
    line = next(i for i, row in enumerate(lines) if ' cut: ' in row)
    assert lines[line - 1].startswith('block_01') and lines[line + 1].startswith('block_02')
