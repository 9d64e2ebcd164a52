"""What arms choose beside their rate, on toy runs whose best choice is known."""

import pytest

from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.grid.variants import chosen, expanded, variants
from ftjax.ablation.settings import AblationSettings, read_ablation
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError

GIVEN = {
    'arms': {
        'full': 'full',
        'head': {'freeze': 'head', 'rates': (1e-2, 1e-1)},
        'none': {'baseline': 'pixels'},
    },
    'rates': (1e-3, 1e-2),
    'seeds': (0, 1),
    'max_extra': 0,
    'reference': 'full',
    'gates': (('above', 'full', 'head'),),
    'tune': {'optimizer.weight_decay': (0.0, 0.1, 0.2), 'train.epochs': (1.0, 2.0)},
}
BEST = {'full': (0.1, 2.0), 'head': (0.2, 1.0)}
SETTINGS = AblationSettings(**GIVEN)


def score(grid, arm, rate):
    """Best at BEST; the first seed of a higher rate is a little better."""
    if rate is None:
        return 0.1
    changes = grid.changes(arm)
    found = changes['optimizer.weight_decay'], changes['train.epochs']
    return 0.5 + 0.2 * (found == BEST[changes['freeze']]) + rate


def rows(tmp_path, broken=()):
    grid = expanded(SETTINGS)

    def execute(arm, rate, seed):
        if (arm, rate, seed) in broken:
            return {'status': 'diverged', 'reason': 'no number'}
        value = score(grid, arm, rate)
        # Test scores contradict validation: they must not choose.
        return {'status': 'ok', 'val': {'accuracy': value}, 'test': {'accuracy': 1 - value}}

    return run_grid(grid, execute, tmp_path, {}, progress=False)


def test_each_combination_is_an_arm_with_the_rates_of_its_own():
    grid = expanded(SETTINGS)
    assert len(grid.arms) == 2 * 3 * 2 + 1 and not grid.gates
    name = 'head (weight_decay 0.2, epochs 1.0)'
    assert grid.grids[name] == (1e-2, 1e-1)
    assert grid.changes(name) == {
        'freeze': 'head',
        'optimizer.weight_decay': 0.2,
        'train.epochs': 1.0,
    }
    assert 'none' in grid.arms and 'none' not in variants(SETTINGS)
    plain = AblationSettings(arms=GIVEN['arms'], rates=(1e-3, 1e-2))
    assert expanded(plain) is plain


def test_validation_alone_chooses_and_the_table_has_one_row_an_arm(tmp_path):
    made = rows(tmp_path)
    assert len(made) == 2 * 6 * 2 * 2 + 2
    kept, (note,) = chosen(made, SETTINGS)
    tuned = {row['arm']: tuple(row['tuned'].values()) for row in kept if 'tuned' in row}
    assert tuned == BEST
    assert 'full 0.1, 2.0; head 0.2 (the highest tried), 1.0.' in note and '6 choices' in note
    summary = summarise(kept, reference='full', arms=list(SETTINGS.arms), seeds=SETTINGS.seeds)
    arms = {arm['arm']: arm for arm in summary['tasks'][0]['arms']}
    assert arms['full']['rate'] == 1e-2 and arms['head']['rate'] == 1e-1
    assert arms['head']['mean']['estimate'] == pytest.approx(1 - 0.8)
    assert arms['none']['mean']['estimate'] == pytest.approx(0.9)


def test_a_variant_that_diverged_goes_behind_those_that_did_not(tmp_path):
    name = 'full (weight_decay 0.1, epochs 2.0)'
    kept, _ = chosen(rows(tmp_path, {(name, 1e-2, 0), (name, 1e-3, 1)}), SETTINGS)
    first = next(row['tuned'] for row in kept if row['arm'] == 'full')
    assert tuple(first.values()) == (0.0, 1.0)  # the first of those that are equally good


def test_what_is_no_number_can_be_chosen_too(tmp_path):
    tune = {
        'optimizer.clip_norm': (None, 1.0, 2.0),
        'optimizer.name': ('sgd', 'adamw', 'lion'),
        'optimizer.betas': ([0.9, 0.99], [0.9, 0.999], [0.8, 0.9]),
    }
    settings = AblationSettings(arms={'full': 'full'}, rates=(1e-3,), seeds=(0,), tune=tune)
    grid = expanded(settings)

    def execute(arm, rate, seed):
        changes = grid.changes(arm)
        best = [changes[key] for key in tune] == [None, 'lion', [0.8, 0.9]]
        values = {'accuracy': 0.5 + 0.1 * best}
        return {'status': 'ok', 'val': values, 'test': values}

    _, (note,) = chosen(run_grid(grid, execute, tmp_path, {}, progress=False), settings)
    assert note.endswith('full None, lion, [0.8, 0.9].')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'tune': {'optimizer.weight_decay': 0.1}}, 'expected values to try'),
        ({'tune': {'optimizer.weight_decay': (0.1, 0.1)}}, 'names a value twice'),
        ({'tune': {'optimizer.learning_rate': (0.1,)}}, 'what config.ablation.rates are for'),
        ({'tune': {'train.epochs': (1.0,)}, 'equal': 'compute'}, "equal is 'compute'"),
        ({'tune': {'freeze': ('head',)}}, "is set by arm 'full' itself"),
        ({'equal': 'step'}, "did you mean 'steps'"),
        ({'tasks': {'few': 'digits'}}, 'expected changes of the config'),
        ({'tasks': {'a': {'seed': 1}}, 'groups': {'g': ('a', 'b')}}, "'b'"),
    ],
)
def test_mistakes_are_named(change, words):
    with pytest.raises(UserError, match=words):
        read_ablation({**GIVEN, **change})
