"""Budgets as text, and what a row costs of one."""

import pytest

from ftjax.ablation.budgets.budget import read_budget
from ftjax.ablation.settings import read_ablation
from ftjax.errors import UserError


@pytest.mark.parametrize(
    'text,amount,kind',
    [
        ('30 min', 1800.0, 'seconds'),
        ('10min', 600.0, 'seconds'),
        ('1.5 h', 5400.0, 'seconds'),
        ('.5 days', 43200.0, 'seconds'),
        ('90 Seconds', 90.0, 'seconds'),
        ('2e15 flops', 2e15, 'flops'),
        ('3 TFLOPs', 3e12, 'flops'),
        ('60 runs', 60.0, 'runs'),
    ],
)
def test_numbers_with_units(text, amount, kind):
    found = read_budget(text)
    assert (found.amount, found.kind, found.text) == (amount, kind, text)


@pytest.mark.parametrize(
    'text,words',
    [
        ('30 mim', "unknown unit of config.ablation.budget 'mim'; did you mean 'min'"),
        ('60 rums', "did you mean 'runs'"),
        ('2e15 flop', "did you mean 'flops'"),
        ('30', "'30', without a unit; expected a number and a unit, '30 min'"),
        ('soon', "'soon'; expected a number and a unit"),
        ('-3 min', "'-3 min'; expected a number and a unit"),
        ('0 min', 'expected more than 0'),
        ('1e999 h', 'expected more than 0'),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(UserError, match=words):
        read_ablation({'arms': {'head': 'head'}, 'rates': (1e-3,), 'budget': text})


@pytest.mark.parametrize(
    'more,words',
    [
        ({'seeds': (0,)}, 'name 2 or more in config.ablation.seeds'),
        ({'folds': 3}, 'does not go with config.ablation.folds'),
        ({'tune': {'train.epochs': (1.0, 2.0)}}, 'does not go with config.ablation.tune'),
        ({'search': 'random'}, 'does not go with config.ablation.search'),
        ({'gates': (('worst', 'head'),)}, 'does not go with config.ablation.gates'),
        ({'group_gates': {'a': (('worst', 'head'),)}}, 'no alpha for gates'),
    ],
)
def test_what_a_race_cannot_do_is_refused(more, words):
    given = {'arms': {'head': 'head'}, 'rates': (1e-3, 1e-2), 'budget': '1 h', **more}
    with pytest.raises(UserError, match=words):
        read_ablation(given)


def test_cost_of_a_row():
    row = {'cell_seconds': 3.0, 'wall_seconds': 2.0, 'step_flops': 5.0, 'steps': 4}
    assert read_budget('1 h').cost(row) == 3.0
    assert read_budget('1 h').cost({'wall_seconds': 2.0}) == 2.0
    assert read_budget('1 pflops').cost(row) == 20.0
    assert read_budget('9 runs').cost(row, 0.25) == 0.25
    assert read_budget('1 pflops').cost({'status': 'diverged'}) == 0.0
