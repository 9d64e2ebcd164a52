"""One network that learns several tasks: what is carried, what is forgotten, what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from ftjax.ablation.cells.sequence_runner import SequenceRunner, carried
from ftjax.ablation.cells.task_grids import run_grids
from ftjax.ablation.engines.engine import InProcess
from ftjax.ablation.grid.claim import claim
from ftjax.ablation.report.figures import draw
from ftjax.ablation.report.figures_sequence import forgetting_in_turn
from ftjax.ablation.report.figures_shifts import in_out_plane
from ftjax.ablation.report.forgetting_table import forgetting_table
from ftjax.ablation.report.gate_verdicts import grid_verdicts
from ftjax.ablation.report.grid_report import write_grid_results
from ftjax.ablation.report.tables import shifts_told
from ftjax.ablation.sequences.joint_fields import joint_hash
from ftjax.ablation.sequences.sequence_forgetting import forgetting_after
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.config import plain, template
from ftjax.errors import UserError
from ftjax.leaves import flatten
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.network_opening import open_network
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train

VALUES = {
    'init': 'glyphs',
    'data': {
        'examples_per_class': 2,
        'val_per_class': 2,
        'test_per_class': 2,
        'batch_size': 10,
        'eval_batch_size': 40,
    },
    'optimizer': {'name': 'adamw', 'learning_rate': 0.01},
    'train': {'steps': 2, 'report': False},
}
TASKS = {
    'scattered': {'data.source': 'digits:scattered'},
    'upright': {'data.source': 'digits', 'train.steps': 3},
}
ARMS = {'full': 'full', 'ewc': 'full+ewc:100,4', 'lora': 'lora:2'}


def settings_of(**changes):
    given = {
        'arms': ARMS,
        'tasks': TASKS,
        'sequence': tuple(TASKS),
        'rates': (0.01,),
        'seeds': (0, 1),
        'max_extra': 0,
    }
    return AblationSettings(**{**given, **changes})


def by_hand(strategy):
    """Scores of full fine-tuning, phase after phase, written out for two tasks."""
    settings = settings_of(arms={'full': strategy})
    runner = SequenceRunner(VALUES, settings)
    first, second = (runner.config_of('full', 0.01, 0, task) for task in TASKS)
    assert (first.train.steps, second.train.steps) == (2, 3)
    prepared = [prepare(c, d, open_network(c, d)) for c, d in ((first, runner.data_of(first)),)]
    one, _ = train(prepared[0], progress=False)
    data = runner.data_of(second)
    other = prepare(second, data, open_network(second, data))
    start = carried(other.variables, one.variables, 'upright')
    fresh = flatten(other.variables['params'])
    for path, leaf in flatten(start['params']).items():
        kept = flatten(one.variables['params'])[path]
        np.testing.assert_array_equal(leaf, fresh[path] if path.startswith('head/') else kept)
    two, _ = train(dataclasses.replace(other, variables=start), progress=False)
    back = {'params': {**two.variables['params'], 'head': one.variables['params']['head']}}
    return {
        'scattered': split_metrics(prepared[0], one.variables)['accuracy'],
        'both': (
            split_metrics(prepared[0], back)['accuracy'],
            split_metrics(other, two.variables)['accuracy'],
        ),
    }


def test_a_row_is_the_phases_one_after_the_other():
    row = SequenceRunner(VALUES, settings_of())('full', 0.01, 0)
    wanted = by_hand('full')
    assert row['scores'] == {
        'scattered': {'scattered': wanted['scattered']},
        'upright': dict(zip(TASKS, wanted['both'], strict=True)),
    }
    lost = wanted['scattered'] - wanted['both'][0]
    assert row['forgetting'] == {'after upright': pytest.approx(lost)}
    assert row['test'] == {'n': 40, 'accuracy': pytest.approx(np.mean(wanted['both']))}
    assert row['steps'] == 5 and row['status'] == 'ok' and row['frozen_unchanged']
    assert set(row['identity']['data']['further']) == set(TASKS)
    # 10 classes, 2 of each, of both tasks.
    assert row['sizes'] == {'train': 40, 'val': 40, 'test': 40}
    assert row['leaks']['n'] == 40 and 'guessing' not in row


def test_one_head_for_all_tasks_learns_on():
    settings = settings_of(arms={'full': 'full'}, sequence_head='shared')
    runner = SequenceRunner(VALUES, settings)
    runner.check()
    first, second = (runner.config_of('full', 0.01, 0, task) for task in TASKS)
    data = runner.data_of(first)
    one = prepare(first, data, open_network(first, data))
    learned, _ = train(one, progress=False)
    other = prepare(second, runner.data_of(second), open_network(second, runner.data_of(second)))
    start = carried(other.variables, learned.variables, 'upright', shared_head=True)
    kept = flatten(learned.variables['params'])
    for path, leaf in flatten(start['params']).items():
        np.testing.assert_array_equal(leaf, kept[path])
    ended, _ = train(dataclasses.replace(other, variables=start), progress=False)
    row = runner('full', 0.01, 0)
    assert row['scores']['upright'] == {
        'scattered': split_metrics(one, ended.variables)['accuracy'],
        'upright': split_metrics(other, ended.variables)['accuracy'],
    }
    assert row['scores']['scattered'] == {
        'scattered': split_metrics(one, learned.variables)['accuracy']
    }
    # The head learned on.
    ended_as = flatten(ended.variables['params'])
    heads = [path for path in kept if path.startswith('head/')]
    assert heads and all(not np.array_equal(kept[path], ended_as[path]) for path in heads)


def test_a_folder_of_one_head_is_not_gone_on_with_by_others(tmp_path):
    own, shared = (
        settings_of(arms={'full': 'full'}, sequence_head=head) for head in ('own', 'shared')
    )
    for number, (first, second) in enumerate(((own, shared), (shared, own))):
        folder = tmp_path / str(number)
        folder.mkdir()
        claim(folder, first, VALUES)
        claim(folder, first, VALUES)
        with pytest.raises(UserError, match='holds an ablation of another config'):
            claim(folder, second, VALUES)


def test_tasks_with_one_head_need_as_many_outputs():
    tasks = {**TASKS, 'upright': {'data.source': 'breast_cancer'}}
    runner = SequenceRunner(VALUES, settings_of(tasks=tasks, sequence_head='shared'))
    with pytest.raises(UserError, match="not alike: 'scattered' 10 outputs, 'upright' 2 outputs"):
        runner.check()


@pytest.mark.parametrize('arm', ['full+ewc:100,4', 'full+l2_sp:0.1', 'full+wise_ft'])
def test_what_looks_back_to_a_new_head_does_not_go_with_a_shared_one(arm):
    runner = SequenceRunner(VALUES, settings_of(arms={'one': arm}, sequence_head='shared'))
    with pytest.raises(
        UserError, match=r"arm 'one' holds .* takes the head of every task as a new"
    ):
        runner.check()


def test_classes_in_another_order_share_no_head():
    names = [str(digit) for digit in range(10)]
    turned = {'data.source': 'digits', 'data.class_names': tuple(reversed(names))}
    tasks = {
        'scattered': {**TASKS['scattered'], 'data.class_names': tuple(names)},
        'upright': turned,
    }
    arms = {'full': 'full'}
    shared = settings_of(arms=arms, tasks=tasks, sequence_head='shared')
    with pytest.raises(UserError, match="'upright' has the classes of 'scattered' in another"):
        SequenceRunner(VALUES, shared).check()
    # Of two tasks in the middle, too.
    letters = {'data.source': 'digits', 'data.class_names': tuple('abcdefghij')}
    three = {'letters': letters, **tasks}
    shared = settings_of(arms=arms, tasks=three, sequence=tuple(three), sequence_head='shared')
    with pytest.raises(UserError, match="'upright' has the classes of 'scattered' in another"):
        SequenceRunner(VALUES, shared).check()


def test_what_is_told_of_the_data_is_that_of_all_tasks():
    runner = SequenceRunner(VALUES, settings_of())
    one, other = runner('lora', 0.01, 0), runner('lora', 0.01, 1)
    for name in ('test_fingerprint', 'data_fingerprint'):
        assert one[name] != other[name]
    tasks = runner.tasks(('lora', 0.01, 0))
    first = {task: data.test.fingerprint for task, (_, data) in tasks.items()}
    assert one['test_fingerprint'] == joint_hash(first.values())
    assert one['test_fingerprint'] not in first.values()


def test_an_undefined_score_is_a_gap_and_not_the_end():
    scores = {'a': {'a': 0.9}, 'b': {'a': None, 'b': 0.8}, 'c': {'a': 0.5, 'b': 0.7, 'c': 0.9}}
    lost = forgetting_after(scores, True)
    assert lost == {'after b': None, 'after c': pytest.approx(0.25)}
    rows = [
        {
            'arm': arm,
            'rate': 0.01,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': 0.5},
            'test': {'n': 40, 'accuracy': 0.5},
            'shifts': {'a': {'accuracy': 0.4, 'n': 20}, 'b': {'accuracy': 0.6, 'n': 20}},
            'forgetting': {'after b': None, 'after c': 0.25 + 0.01 * seed},
        }
        for arm in ARMS
        for seed in (0, 1)
    ]
    summary = summarise(rows, seeds=(0, 1), reference='full', metric='accuracy')
    (task,) = summary['tasks']
    _, header, table = forgetting_table(task, summary)
    assert header == ['arm', 'after b', 'after c']
    assert [row[1] for row in table] == ['–'] * len(ARMS)
    assert table[0][2].startswith('+25.5 [')
    assert shifts_told(task) == 'Each task, after the last one'
    # The test score of a sequence is the mean of its tasks: no plane of one against the other.
    assert in_out_plane(task, summary) is None
    for arm in task['arms']:
        arm['forgetting'] = {}
    assert in_out_plane(task, summary) is not None


def test_what_was_learned_stands_beside_what_was_forgotten():
    rows = []
    for arm, (learned, ended) in {
        'full': (0.9, 0.5),
        'lora': (0.5, 0.5),
        'ewc': (0.8, 0.6),
    }.items():
        for seed in (0, 1, 2):
            start, end = learned + 0.01 * seed, ended + 0.02 * (seed - 1) + 0.01 * seed
            scores = {
                'a': {'a': start},
                'b': {'a': start, 'b': 0.6},
                'c': {'a': end, 'b': 0.6, 'c': 0.9},
            }
            rows.append(
                {
                    'arm': arm,
                    'rate': 0.01,
                    'seed': seed,
                    'status': 'ok',
                    'scores': scores,
                    'val': {'accuracy': 0.5},
                    'test': {'n': 40, 'accuracy': 0.5},
                    'forgetting': forgetting_after(scores, True),
                }
            )
    summary = summarise(rows, seeds=(0, 1, 2), reference='full', metric='accuracy')
    (task,) = summary['tasks']
    learned = {arm['arm']: arm['forgetting']['after c']['learned'] for arm in task['arms']}
    # Means of a (.91 with full) and b (.6).
    assert learned['full']['estimate'] == pytest.approx((0.91 + 0.6) / 2)
    assert learned['full']['low'] < learned['full']['estimate'] < learned['full']['high']
    told, header, table = forgetting_table(task, summary)
    assert header == ['arm', 'as learned', 'after b', 'after c']
    assert 'has little to forget; where classes' in told
    cells = {row[0]: row[1:] for row in table}
    assert cells['lora'][0].startswith('55.5 [') and cells['lora'][2].startswith('+0.0 [')
    assert cells['full'][0].startswith('75.5 [') and cells['full'][2].startswith('+20.0 [')
    axes = forgetting_in_turn(task, summary).axes[0]
    bars = [
        tuple(map(float, line.get_ydata())) for line in axes.lines if len(line.get_ydata()) == 2
    ]
    # Bounds below 0 are drawn: what was forgotten is a difference, and no score.
    found = {arm['arm']: arm['forgetting']['after c']['mean'] for arm in task['arms']}
    assert found['lora']['low'] < 0 < found['lora']['high']
    assert (100 * found['lora']['low'], 100 * found['lora']['high']) in bars
    places = {
        tuple(round(float(value), 6) for value in (line.get_xdata()[0], line.get_ydata()[0]))
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    assert places == {(75.5, 20.0), (55.5, 0.0), (70.5, 10.0)}
    assert 'forgetting_in_turn' in [drawn.name for drawn in draw(summary)]
    # Rows from before scores were kept say nothing of what was learned.
    for row in rows:
        del row['scores']
    summary = summarise(rows, seeds=(0, 1, 2), reference='full', metric='accuracy')
    assert forgetting_table(summary['tasks'][0], summary)[1] == ['arm', 'after b', 'after c']
    assert forgetting_in_turn(summary['tasks'][0], summary) is None


def test_lower_scores_that_are_better_forget_by_rising():
    scores = {'a': {'a': 0.2}, 'b': {'a': 0.5, 'b': 0.1}}
    assert forgetting_after(scores, False) == {'after b': pytest.approx(0.3)}
    assert forgetting_after(scores, True) == {'after b': pytest.approx(-0.3)}


FORGOT = {'full': (0.30, 0.34, 0.32), 'last:1': (0.28, 0.33, 0.29), 'lora': (0.02, 0.01, 0.03)}
GATES = (
    ('above', 'lora', 'full'),
    ('above', 'full', 'lora'),
    ('rises', 'full', 'last:1', 'lora'),
    ('last_step_largest', 'full', 'last:1', 'lora'),
    ('last_step_largest', 'lora', 'last:1', 'full'),
    ('difference', 'last:1', 'full'),
)


def test_gates_on_what_was_forgotten_count_less_as_better():
    settings = settings_of(
        arms={arm: arm for arm in ('full', 'last:1', 'lora')} | {'lora': 'lora:2'},
        seeds=(0, 1, 2),
        forgetting_gates=GATES,
    )
    rows = [
        {
            'arm': arm,
            'rate': 0.01,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': 0.5},
            'test': {'n': 40, 'accuracy': 0.5},
            'forgetting': {'after scattered': 0.9, 'after upright': lost},
        }
        for arm, losses in FORGOT.items()
        for seed, lost in enumerate(losses)
    ]
    summary = summarise(rows, seeds=(0, 1, 2), reference='full', metric='accuracy')
    found = grid_verdicts(settings, summary, rows)
    assert [one['passed'] for one in found] == [True, False, True, True, None, None]
    values = [one['value'] for one in found]
    # Points of accuracy: full .32, last:1 .30, lora .02 on the mean.
    assert values == pytest.approx([30, -30, 30, 26, -2, -2])
    assert found[0]['gate'].startswith('forgetting: lora above full (lower forgetting is better')


def test_gates_on_forgetting_need_a_sequence_and_arms_that_there_are():
    with pytest.raises(UserError, match='forgetting_gates needs tasks'):
        settings_of(sequence=(), forgetting_gates=(('above', 'lora', 'full'),))
    with pytest.raises(UserError, match="did you mean 'lora'"):
        settings_of(forgetting_gates=(('above', 'lore', 'full'),))


@pytest.mark.slow
def test_the_grid_its_table_and_that_nothing_is_run_twice(tmp_path):
    settings = settings_of()
    found = run_grids(VALUES, settings, tmp_path, InProcess())
    assert len(found[0]) == len(ARMS) * 2
    values = plain(template(**VALUES))
    _, table = write_grid_results(tmp_path, values, settings, *found)
    assert 'Forgetting: by how much the accuracy' in table and 'after upright' in table
    html = (tmp_path / 'report.html').read_text('utf-8')
    assert 'Forgetting: by how much' in html
    summary = json.loads((tmp_path / 'summary.json').read_text('utf-8'))
    arms = {arm['arm']: arm['forgetting']['after upright'] for arm in summary['tasks'][0]['arms']}
    assert arms['full']['difference'] is None
    seeds = [arms[arm]['seeds'] for arm in ('lora', 'full')]
    wanted = np.mean([seeds[0][seed] - seeds[1][seed] for seed in ('0', '1')])
    assert arms['lora']['difference']['estimate'] == pytest.approx(wanted, abs=1e-9)
    before = (tmp_path / 'runs.jsonl').read_bytes()
    run_grids(VALUES, settings, tmp_path, InProcess())
    assert (tmp_path / 'runs.jsonl').read_bytes() == before
    with pytest.raises(UserError, match='holds an ablation of another config'):
        turned = settings_of(sequence=tuple(reversed(TASKS)))
        run_grids(VALUES, turned, tmp_path, InProcess())


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'sequence': ('scattered', 'uprigth')}, "did you mean 'upright'"),
        ({'sequence': ('scattered',)}, 'two different tasks'),
        ({'sequence': ('scattered', 'scattered')}, 'two different tasks'),
        ({'arms': {'full': 'full', 'p': {'baseline': 'probe'}}}, 'learns no sequence'),
        ({'sequence_head': 'one'}, 'unknown config.ablation.sequence_head'),
        ({'sequence': (), 'sequence_head': 'shared'}, 'sequence_head needs tasks'),
        ({'folds': 2}, 'does not go with config.ablation.folds'),
        ({'equal': 'compute'}, 'does not go with config.ablation.equal'),
        ({'tasks': {**TASKS, 'more': {'data.seed': 3}}}, "leaves out task 'more'"),
    ],
)
def test_what_is_no_sequence_is_one_line(changes, words):
    with pytest.raises(UserError, match=words):
        settings_of(**changes)


def test_tasks_that_would_each_make_a_tokenizer_are_refused():
    data = {**VALUES['data'], 'source': 'docstrings', 'tokenizer': 'wordpiece:128'}
    runner = SequenceRunner({**VALUES, 'data': data}, settings_of())
    with pytest.raises(UserError, match=r"'scattered' .*makes a tokenizer from the texts of each"):
        runner.check()


def test_networks_that_share_no_trunk_are_refused():
    with pytest.raises(UserError, match=r"stage 'stem' .* of 'upright'"):
        carried(
            {'params': {'stem': {'kernel': np.ones(3)}, 'head': {}}},
            {'params': {'stem': {'kernel': np.ones(4)}, 'head': {}}},
            'upright',
        )
