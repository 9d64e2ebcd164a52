"""Verdicts over groups of tasks, on rows with known scores."""

import pytest

from ftjax.ablation.report.gate_verdicts import grid_verdicts
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.overall import mean_of_tasks
from ftjax.ablation.summary.summary import summarise

GROUPS = {'noise': ('a', 'b'), 'flip': ('c',)}
GATES = {'noise': (('above', 'low', 'top'),), 'flip': (('difference', 'top', 'low'),)}


def verdicts(made, gates):
    settings = AblationSettings(
        arms={'low': 'head', 'top': 'full'},
        rates=(1e-3,),
        tasks={name: {'data.seed': 0} for name in ('a', 'b', 'c')},
        groups=GROUPS,
        group_gates=gates,
    )
    return grid_verdicts(settings, summarise(made, reference='low'), made)


def rows(scores, rate=1e-3, **more):
    """Three seeds of every task and arm; {(task, arm): score or None}."""
    made = []
    for (task, arm), score in scores.items():
        for seed in range(3):
            own = 0.0002 * len(made) % 0.0011  # a little noise, so that there is some to judge by
            one = {'accuracy': (score or 0) + 0.01 * seed + own}
            status = 'diverged' if score is None and seed == 2 else 'ok'
            row = {'task': task, 'arm': arm, 'rate': rate, 'seed': seed, 'status': status}
            made.append({**row, 'val': one, 'test': one, **more})
    return made


SCORES = {
    ('a', 'low'): 0.5,
    ('a', 'top'): 0.4,
    ('b', 'low'): 0.7,
    ('b', 'top'): 0.76,
    ('c', 'low'): 0.2,
    ('c', 'top'): 0.8,
}


def test_a_group_is_judged_by_the_mean_of_its_tasks():
    made = rows(SCORES)
    found = verdicts(made, GATES)
    assert [one['gate'] for one in found] == ['noise: low above top', 'flip: top minus low']
    assert found[0]['passed'] is True and found[0]['value'] == pytest.approx(2.0, abs=0.2)
    assert found[1]['passed'] is None and found[1]['value'] == pytest.approx(60.0, abs=0.2)


def test_a_seed_counts_where_every_task_finished_it():
    summary = summarise(rows({**SCORES, ('b', 'low'): None}), reference='low')
    merged = mean_of_tasks(summary, ('a', 'b'))['tasks'][0]['arms']
    low = next(arm for arm in merged if arm['arm'] == 'low')
    assert low['seeds']['2'] is None
    assert low['seeds']['1'] == pytest.approx((0.51 + 0.01) / 2, abs=0.002)


def test_weights_are_those_of_the_chosen_rate():
    good, bad = {'block1': 0.9, 'head': 0.1}, {'block1': 0.0, 'head': 1.0}
    poor = {key: score - 0.1 for key, score in SCORES.items()}
    made = rows(SCORES, weights=good) + rows(poor, rate=1e-2, weights=bad)
    found = verdicts(made, {})
    assert all(one['kind'] == 'report' for one in found) and len(found) == 2 * 2 * 2
    told = {one['gate']: one['value'] for one in found}
    assert told['noise: mean weight of low in block1 (1: its largest leaf)'] == pytest.approx(0.9)
