"""Rows of an ablation's folder: those of the present grid count, and none contradicts another."""

import dataclasses
import json
import math
import pathlib

import pytest

from ftjax.ablation.cells.task_grids import run_grids
from ftjax.ablation.grid.rows import read_rows
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.report.tables import write_summary
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import read_summary, summarise
from ftjax.errors import UserError
from ftjax.io.json.stored_fields import read_result
from ftjax.tasks.metrics_text import metrics_text

RESULTS = pathlib.Path(__file__).parents[2] / 'results'
RATES = (1e-4, 1e-3, 1e-2)
SETTINGS = AblationSettings(
    arms={'full': 'full', 'head': 'head', 'pixels': {'baseline': 'pixels'}},
    rates=RATES,
    seeds=(0, 1, 2),
    max_extra=0,
)


def execute(arm, rate, seed):
    """Seed 2 likes another rate so much that it decides for all of them."""
    best = 1e-2 if seed == 2 else 1e-3
    value = 0.5 if rate is None else 0.9 - 0.1 * (rate != best) - 0.3 * (seed == 2 and rate != best)
    return {'status': 'ok', 'val': {'accuracy': value}, 'test': {'accuracy': value + 0.001 * seed}}


def rows_of(folder, settings=SETTINGS, run=execute, fixed=None, **more):
    return run_grid(settings, run, folder, fixed or {}, progress=False, **more)


def chosen(rows, settings):
    summary = summarise(
        rows, reference=settings.arms and next(iter(settings.arms)), seeds=settings.draws
    )
    return {arm['arm']: arm['rate'] for arm in summary['tasks'][0]['arms']}


def cells(rows):
    return {(row['arm'], row['rate'], row['seed']) for row in rows}


def test_dropped_seeds_choose_nothing(tmp_path):
    whole = rows_of(tmp_path)
    assert chosen(whole, SETTINGS)['full'] == 1e-2
    few = dataclasses.replace(SETTINGS, seeds=(0, 1))
    rows = rows_of(tmp_path, few, None)  # nothing is run again
    assert {row['seed'] for row in rows} == {0, 1} and chosen(rows, few)['full'] == 1e-3
    assert chosen(rows, few) == chosen(rows_of(tmp_path / 'fresh', few), few)
    # A summary that is given all rows takes those of its seeds alone, too.
    assert chosen(whole, few)['full'] == 1e-3
    assert rows_of(tmp_path, SETTINGS, None) == whole  # none of them is lost


def test_dropped_rates_choose_nothing(tmp_path):
    whole = rows_of(tmp_path)
    few = dataclasses.replace(SETTINGS, rates=RATES[:2])
    rows = rows_of(tmp_path, few, None)
    assert {row['rate'] for row in rows} == {None, *RATES[:2]}
    assert chosen(rows, few)['full'] == 1e-3 and len(rows) < len(whole)


def test_rates_beyond_an_earlier_grid_do_not_count(tmp_path):
    low = dataclasses.replace(SETTINGS, rates=(1e-5, 1e-4), seeds=(0, 1), max_extra=2)

    def rising(arm, rate, seed):
        value = 0.1 if rate is None else -abs(math.log10(rate) + 3)
        return {'status': 'ok', 'val': {'accuracy': value}, 'test': {'accuracy': value}}

    assert 1e-2 in {row['rate'] for row in rows_of(tmp_path, low, rising)}
    narrow = dataclasses.replace(low, max_extra=0)
    assert {row['rate'] for row in rows_of(tmp_path, narrow, None)} == {None, 1e-5, 1e-4}


def test_arms_may_be_left_out_and_added_and_keep_their_meaning(tmp_path):
    rows_of(tmp_path)
    fewer = dataclasses.replace(SETTINGS, arms={'full': 'full'})
    assert {row['arm'] for row in rows_of(tmp_path, fewer, None)} == {'full'}
    more = dataclasses.replace(SETTINGS, arms={**SETTINGS.arms, 'last:1': 'last:1'})
    ran = []

    def counted(*cell):
        ran.append(cell)
        return execute(*cell)

    assert len(rows_of(tmp_path, more, counted)) == 30 and {cell[0] for cell in ran} == {'last:1'}
    # An arm that was left out meanwhile is noted still.
    other = dataclasses.replace(SETTINGS, arms={'full': 'full', 'head': 'last:1'})
    with pytest.raises(UserError, match=r"arms.head.freeze is 'head' there and 'last:1' here"):
        rows_of(tmp_path, other)


def test_another_config_is_refused_by_what_differs(tmp_path):
    rows_of(tmp_path, fixed={'config': {'train': {'epochs': 1.0}}})
    with pytest.raises(UserError, match=r'config.train.epochs is 1.0 there and 2.0 here'):
        rows_of(tmp_path, fixed={'config': {'train': {'epochs': 2.0}}})


def test_rows_of_several_tasks_and_of_one_do_not_mix(tmp_path):
    rows = rows_of(tmp_path / 'a')
    (tmp_path / 'runs.jsonl').write_text(
        ''.join(json.dumps({'task': 'a', **row}) + '\n' for row in rows)
    )
    with pytest.raises(UserError, match=r'holds rows and there is no ablation.json'):
        rows_of(tmp_path)
    tasks = dataclasses.replace(SETTINGS, tasks={'one': {'data.examples_per_class': 1}})
    before = (tmp_path / 'a' / 'runs.jsonl').read_bytes()
    with pytest.raises(UserError, match='holds an ablation without tasks'):
        run_grids({}, tasks, tmp_path / 'a', engine=None)
    assert (tmp_path / 'a' / 'runs.jsonl').read_bytes() == before


ROW = {'arm': 'full', 'rate': 1e-3, 'seed': 0, 'status': 'ok', 'val': {'accuracy': 0.5}}
ROW |= {'test': {'accuracy': 0.5}, 'wall_seconds': 1.0}


def written(folder, *rows):
    folder.mkdir(exist_ok=True)
    path = folder / 'runs.jsonl'
    path.write_text(
        ''.join((row if isinstance(row, str) else json.dumps(row)) + '\n' for row in rows)
    )
    return path


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'test': {'accuracy': 0.6}}, r'test accuracy 0.5 there and 0.6 here'),
        ({'val': {'accuracy': 0.6}}, r'val accuracy 0.5 there and 0.6 here'),
        ({'status': 'diverged'}, r"status 'ok' there and 'diverged' here"),
        ({'status': 'failed', 'retries': 1}, "'failed' here"),  # only failed cells are retried
        ({'shifts': {'noisy': {'accuracy': 0.1}}}, 'shifts'),
        ({'rate': 1e-3 * (1 + 1e-12), 'test': {'accuracy': 0.7}}, r'rate 0.001, seed 0 has test'),
    ],
)
def test_a_row_that_contradicts_another_is_refused_with_both_lines(change, words, tmp_path):
    other = {**ROW, 'seed': 1}
    path = written(tmp_path, ROW, other, {**ROW, **change})
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"line 3 contradicts line 1: arm 'full', .*{words}"):
        read_rows(path)
    assert path.read_bytes() == before


def test_a_row_that_is_there_twice_counts_once(tmp_path):
    path = written(tmp_path, ROW, {**ROW, 'wall_seconds': 2.0})
    assert read_rows(path) == [ROW]


BROKEN = [
    *(({key: None}, rf"'{key}' is None") for key in ('arm', 'seed', 'status')),
    *(({key: []}, rf"'{key}' is \[\]") for key in ('arm', 'seed', 'status', 'rate', 'val', 'test')),
    ({'seed': True}, "'seed' is True; expected a whole number"),
    ({'seed': 1.5}, "'seed' is 1.5"),
    ({'rate': -1.0}, "'rate' is -1.0; expected a learning rate above 0"),
    ({'rate': True}, "'rate' is True"),
    ({'rate': float('inf')}, "'rate' is inf"),
    ({'rate': '1e-3'}, "'rate' is '1e-3'"),
    ({'status': 'fine'}, "'status' is 'fine'; expected one of ok, diverged, failed"),
    ({'val': {'accuracy': 'high'}}, "'val.accuracy' is 'high'; expected a number"),
    ({'val': {'accuracy': True}}, "'val.accuracy' is True"),
    ({'test': {'accuracy': [0.5]}}, r"'test.accuracy' is \[0.5\]"),
    ({'shifts': [1]}, "'shifts' is"),
    ({'shifts': {'noisy': 0.5}}, "'shifts.noisy' is 0.5"),
    ({'movement': {'stem': 'far'}}, "'movement.stem' is 'far'"),
    ({'wall_seconds': 'long'}, "'wall_seconds' is 'long'; expected a number"),
    ({'params_total': {}}, "'params_total' is {}"),
    ({'task': 3}, "'task' is 3; expected text"),
    ({'test_fingerprint': 3}, "'test_fingerprint' is 3; expected text"),
]


@pytest.mark.parametrize(('change', 'words'), BROKEN)
def test_a_field_of_another_type_is_named_with_its_line(change, words, tmp_path):
    rows_of(tmp_path)
    path = tmp_path / 'runs.jsonl'
    lines = path.read_text().splitlines()
    before = written(tmp_path, lines[0], {**ROW, **change}, *lines[1:]).read_bytes()
    with pytest.raises(UserError, match=rf'runs.jsonl line 2: {words}'):
        rows_of(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize('key', ['arm', 'seed', 'status', 'rate', 'val', 'test'])
def test_a_field_that_is_missing_is_named_with_its_line(key, tmp_path):
    path = written(tmp_path, ROW, {k: v for k, v in {**ROW, 'seed': 1}.items() if k != key})
    with pytest.raises(UserError, match=rf"runs.jsonl line 2 has no '{key}'"):
        read_rows(path)


@pytest.mark.parametrize('line', ['[1, 2]', '3', '{"arm": ', '[' * 100_000, '\x00'])
def test_a_line_that_is_no_row_is_named(line, tmp_path):
    with pytest.raises(UserError, match='line 2 is not a JSON object'):
        read_rows(written(tmp_path, ROW, line, {**ROW, 'seed': 1}))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('[]', r'holds \[\]; expected an object'),
        ('{}', "has no 'digest'; expected text"),
        ('{"digest": 3, "config": {}}', "'digest' is 3; expected text"),
        ('{"digest": "a", "config": []}', r"'config' is \[\]; expected an object"),
        ('{"digest": "a", "config": {}}', "has no 'config.arms'"),
        ('{"digest": "a", "config": {"arms": [1]}}', r"'config.arms' is \[1\]"),
        ('{"digest": "a", "config": {"arms": {"full": 3}}}', 'arms.full is 3 there'),
        ('{', 'is not JSON'),
    ],
)
def test_ablation_json_is_read_with_its_fields_checked(text, words, tmp_path):
    rows_of(tmp_path)
    (tmp_path / 'ablation.json').write_text(text)
    before = (tmp_path / 'runs.jsonl').read_bytes()
    with pytest.raises(UserError, match=words):
        rows_of(tmp_path)
    assert (tmp_path / 'runs.jsonl').read_bytes() == before


RESULT = {'metrics': {'n': 3}, 'frozen_unchanged': True, 'moved_frozen': [], 'still_trainable': []}


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'metrics': 3}, "'metrics' is 3; expected an object"),
        ({'metrics': None}, "'metrics' is None; expected an object"),
        ({'frozen_unchanged': 'yes'}, "'frozen_unchanged' is 'yes'; expected true or false"),
        ({'moved_frozen': {}}, "'moved_frozen' is {}; expected a list"),
        ({'steps': 'many'}, "'steps' is 'many'; expected a whole number"),
        ({'versions': []}, r"'versions' is \[\]"),
        ({'metrics': {'n': '3'}}, "'metrics.n' is '3'"),
    ],
)
def test_result_json_is_read_with_its_fields_checked(change, words, tmp_path):
    path = tmp_path / 'result.json'
    path.write_text(json.dumps({**RESULT, **change}))
    with pytest.raises(UserError, match=f'result.json: {words}'):
        read_result(path, needed=tuple(RESULT))
    path.write_text('{}')
    assert read_result(path) == {}
    with pytest.raises(UserError, match="has no 'metrics'"):
        read_result(path, needed=tuple(RESULT))


@pytest.mark.parametrize(
    ('metrics', 'words'),
    [
        ({}, "have no 'task'"),
        ({'task': 'regression', 'n': 3}, "have no 'mse'"),
        ({'task': 'classification', 'per_class': 3}, 'are not of an evaluation'),
        ({'task': 'masked_tokens', 'n': 1, 'loss': 'x', 'loss_interval': None}, 'are not of'),
    ],
)
def test_metrics_of_a_file_that_cannot_be_shown_end_in_a_line(metrics, words):
    with pytest.raises(UserError, match=f'result.json: metrics {words}'):
        metrics_text(metrics, 'result.json: metrics')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'metric': 3}, "'metric' is 3"),
        ({'tasks': {}}, "'tasks' is {}; expected a list"),
        ({'tasks': [3]}, r'tasks\[0\] holds 3; expected an object'),
        ({'tasks': [{'task': 'all', 'arms': [{}]}]}, r"tasks\[0\].arms\[0\] has no 'arm'"),
        ({'higher_is_better': None}, "'higher_is_better' is None; expected true or false"),
    ],
)
def test_summary_json_is_read_with_its_fields_checked(change, words, tmp_path):
    write_summary(tmp_path, summarise(rows_of(tmp_path / 'runs'), reference='full'))
    found = read_summary(tmp_path / 'summary.json')
    (tmp_path / 'summary.json').write_text(json.dumps({**found, **change}))
    with pytest.raises(UserError, match=f'summary.json.*{words}'):
        read_summary(tmp_path / 'summary.json')


def failing(times):
    """Fails so often on one cell; counts what it runs."""
    seen = []

    def run(arm, rate, seed):
        seen.append((arm, rate, seed))
        if (arm, rate, seed) == ('full', 1e-3, 1) and seen.count((arm, rate, seed)) <= times:
            return {'status': 'failed', 'reason': 'its worker died twice'}
        return execute(arm, rate, seed)

    return run, seen


def test_failed_cells_are_tried_again_only_if_asked(tmp_path):
    run, seen = failing(2)
    settings = dataclasses.replace(SETTINGS, seeds=(0, 1))
    rows_of(tmp_path, settings, run)
    count = len(seen)
    rows_of(tmp_path, settings, run)
    assert len(seen) == count
    again = rows_of(tmp_path, settings, run, retry_failed=True)
    assert seen[count:] == [('full', 1e-3, 1)]
    (row,) = [row for row in again if row['status'] == 'failed']
    assert row['retries'] == 1
    third = rows_of(tmp_path, settings, run, retry_failed=True)
    (row,) = [row for row in third if row.get('retries')]
    assert (row['status'], row['retries']) == ('ok', 2) and len(third) == len(again) == count
    # All three rows stay in the file, and a later call reads the last of them.
    lines = (tmp_path / 'runs.jsonl').read_text().splitlines()
    assert len(lines) == count + 2 and rows_of(tmp_path, settings, None) == third
    assert rows_of(tmp_path, settings, None, retry_failed=True) == third
    summary = summarise(third, reference='full', seeds=settings.draws)
    assert '1 run had failed before and was tried again (--retry_failed).' in summary['caveats']
    assert cells(third) == cells(rows_of(tmp_path / 'fresh', settings))


def with_prints(prints):
    """Rows of two arms; prints is {seed: (test_fingerprint, data_fingerprint)}."""
    return [
        {**ROW, 'arm': arm, 'seed': seed, 'test_fingerprint': test, 'data_fingerprint': data}
        for arm in ('a', 'b')
        for seed, (test, data) in prints.items()
    ]


@pytest.mark.parametrize(
    ('prints', 'words'),
    [
        ({0: ('t', 'x'), 1: ('t', 'y')}, 'on a fixed test set'),
        ({0: ('t', 'x'), 1: ('u', 'y')}, 'Each seed draws its own test split'),
        ({0: (None, 'x'), 1: (None, 'y')}, 'do not tell whether all seeds had the same test'),
        ({0: (None, 'x'), 1: (None, 'x')}, 'on a fixed test set'),
        ({0: (None, None), 1: ('t', 'x')}, 'do not tell whether'),
        ({0: ('t', 'x')}, 'there are no intervals'),
    ],
)
def test_what_intervals_cover_is_read_off_the_fingerprints(prints, words):
    said = summarise(with_prints(prints), reference='a')['caveats']
    kinds = ('on a fixed test set', 'own test split', 'do not tell whether', 'no intervals')
    assert sum(any(kind in one for kind in kinds) for one in said) == 1
    assert any(words in one for one in said)


def test_tasks_whose_test_sets_differ_in_kind_are_named():
    rows = [{**row, 'task': 'one'} for row in with_prints({0: ('t', 'x'), 1: ('t', 'y')})]
    rows += [{**row, 'task': 'two'} for row in with_prints({0: ('t', 'x'), 1: ('u', 'y')})]
    said = summarise(rows, reference='a')['caveats'][-2:]
    assert said[0].startswith('one: Intervals cover') and said[1].startswith('two: Each seed draws')


@pytest.mark.parametrize('name', ['quickstart', 'resnet26_cifar10', 'sst2', 'reproductions/t3'])
def test_committed_summaries_follow_from_their_rows(name):
    known = read_summary(RESULTS / name / 'summary.json')
    arms = [arm['arm'] for arm in known['tasks'][0]['arms']]
    rows = read_rows(RESULTS / name / 'runs.jsonl')
    found = summarise(
        rows,
        reference=known['reference'],
        metric=known['metric'],
        arms=arms,
        seeds=known['seeds'],
        margin=known['margin'],
        outside_prior=known['outside_prior'],
    )
    for arm, want in zip(found['tasks'][0]['arms'], known['tasks'][0]['arms'], strict=True):
        assert (arm['rate'], arm['n_ok']) == (want['rate'], want['n_ok'])
        assert arm['mean']['estimate'] == pytest.approx(want['mean']['estimate'], rel=1e-12)
        if arm['difference']:
            assert arm['difference']['verdict'] == want['difference']['verdict']
