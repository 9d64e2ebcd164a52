"""The leaderboard: numbers that lead to their rows, filters, submissions that must not count."""

import dataclasses
import json
import re
import shutil
import statistics
import subprocess
import sys

import pytest

from ftjax.ablation.leaderboard.board import build, seal, shown
from ftjax.ablation.leaderboard.config_links import config_of, configs_named
from ftjax.ablation.leaderboard.entries import entries_of, within
from ftjax.ablation.leaderboard.settings_found import settings_below
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable, write_json


@pytest.fixture
def results(tmp_path, repository):
    """A folder of results with one setting of five seeds."""
    folder = tmp_path / 'results'
    (folder / 'quickstart').mkdir(parents=True)
    shutil.copy(repository / 'results/quickstart/runs.jsonl', folder / 'quickstart')
    return folder


def rows_of(results):
    text = (results / 'quickstart/runs.jsonl').read_text('utf-8')
    return [json.loads(line) for line in text.splitlines()]


def handed_in(results, change=lambda rows: rows, arm='head'):
    """A submission of an arm of the setting, under another name; not sealed yet."""
    folder = results / 'leaderboard/submissions/somebody'
    folder.mkdir(parents=True)
    rows = [{**row, 'arm': 'mine'} for row in rows_of(results) if row['arm'] == arm]
    lines = [json.dumps(row) + '\n' for row in change(rows)]
    (folder / 'runs.jsonl').write_text(''.join(lines), 'utf-8')
    (folder / 'config.py').write_text('# as quickstart\n', 'utf-8')
    return folder


def test_numbers_are_those_of_the_rows_that_they_lead_to(results):
    board, rows = build(results), rows_of(results)
    entry = next(e for e in board.entries if (e.arm, e.metric) == ('last:2', 'accuracy'))
    assert len(entry.seeds) == 5 and entry.problems == ()
    for score, located in entry.seeds:
        row = rows[located.line - 1]
        assert row == located.row and row['arm'] == 'last:2' and row['rate'] == entry.rate
        assert row['test']['accuracy'] == score
    assert entry.mean['estimate'] == pytest.approx(statistics.fmean(s for s, _ in entry.seeds))
    assert entry.commits == (rows[0]['identity']['commit'][:12],)
    best = {rate: [] for rate in {r['rate'] for r in rows if r['arm'] == 'last:2'}}
    for row in rows:
        if row['arm'] == 'last:2':
            best[row['rate']].append(row['val']['accuracy'])
    top = max(statistics.fmean(values) for values in best.values())
    assert statistics.fmean(best[entry.rate]) == pytest.approx(top)
    of_metric = [e.mean['estimate'] for e in board.entries if e.metric == 'accuracy']
    assert of_metric == sorted(of_metric, reverse=True)


def test_both_pages_link_every_row_and_filter_without_a_script(results):
    board = build(results)
    for path in board.write():
        text = path.read_text('utf-8')
        for entry in board.entries:
            if entry.metric == 'accuracy':
                for _, located in entry.seeds:
                    assert f'../quickstart/runs.jsonl#L{located.line}' in text
    page = (results / 'leaderboard/index.html').read_text('utf-8')
    assert '<script' not in page and '<select>' in page
    hidden = set(re.findall(r'option\[value="(\w+)"\]:checked\) .board tbody tr:not\(\.\1\)', page))
    assert hidden == set(re.findall(r'<option value="(\w+)"', page)) and len(hidden) > 4
    dear = [e for e in board.entries if within(e, budget=0.5)]
    assert {e.arm for e in dear} == {'head', 'last:1'}
    rows = re.findall(r'<tr class="([\w ]+)"><th scope="row">quickstart', page)
    assert sum('b1' in row.split() for row in rows) == len(dear)


def test_a_submission_in_order_counts(results):
    folder = handed_in(results)
    assert 'submission.json' in build(results).refused['somebody']  # not sealed yet
    seal(results, folder, 'quickstart')
    board = build(results)
    assert board.refused == {}
    scores = {e.arm: e.mean['estimate'] for e in board.entries if e.metric == 'accuracy'}
    assert scores['somebody: mine'] == scores['head']
    board.write()
    page = (results / 'leaderboard/README.md').read_text('utf-8')
    assert 'leaderboard/submissions/somebody/config.py' in page


def test_a_run_that_diverged_has_no_fingerprint_and_its_arm_counts(results):
    def diverged(rows):
        rate, kept = max(row['rate'] for row in rows), ('arm', 'seed', 'rate', 'identity')
        lost = {'status': 'diverged', 'reason': 'NaN'}
        return [{k: r[k] for k in kept} | lost if r['rate'] == rate else r for r in rows]

    seal(results, handed_in(results, diverged), 'quickstart')
    assert build(results).refused == {}


def with_copies(rows, count):
    return [{**row, 'leaks': {'exact': count, 'near': 0, 'n': 359}} for row in rows]


def test_copies_count_beyond_those_of_the_setting(results):
    lines = [json.dumps(row) + '\n' for row in with_copies(rows_of(results), 2)]
    (results / 'quickstart/runs.jsonl').write_text(''.join(lines), 'utf-8')
    folder = handed_in(results)  # with the copies of its setting
    seal(results, folder, 'quickstart')
    board = build(results)
    assert board.refused == {}
    # What the setting has is told of all its arms.
    assert all('test examples that stand in training' in e.problems for e in board.entries)
    mine = folder / 'runs.jsonl'
    mine.write_text(mine.read_text('utf-8').replace('"exact": 2', '"exact": 3'), 'utf-8')
    with pytest.raises(UserError, match='test examples that stand in training'):
        seal(results, folder, 'quickstart')


def test_lines_for_a_terminal_name_the_submissions(results):
    board = build(results)
    assert 'None yet.' in shown(board, board.entries)
    handed_in(results)
    board = build(results)
    assert 'somebody' in shown(board, board.entries)
    assert 'None yet.' not in shown(board, board.entries)


@pytest.mark.parametrize('name', ['strategies', 'advice/digits', 'reproductions/t1'])
def test_the_board_says_what_the_report_says(repository, tmp_path, name):
    for file in ('runs.jsonl', 'summary.json'):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / 'results' / name / file, tmp_path / name)
    for setting in settings_below(tmp_path).values():
        (task,) = [one for one in setting.report['tasks'] if one['task'] == (setting.task or 'all')]
        known = {arm['arm']: arm for arm in task['arms'] if arm['mean'] is not None}
        own = [e for e in entries_of(setting) if e.metric == setting.report['metric']]
        assert {entry.arm for entry in own} == {*known}
        for entry in own:
            arm = known[entry.arm]
            assert entry.rate == arm['rate'] and entry.trials == arm['n_trials']
            assert entry.mean['estimate'] == pytest.approx(arm['mean']['estimate'])
            verdicts = [(of or {}).get('verdict') for of in (entry.difference, arm['difference'])]
            assert verdicts[0] == verdicts[1], entry.arm


def test_a_submission_to_a_race_is_judged_though_no_look_saw_it(repository):
    shown = dict(settings_below(repository / 'results'))['advice/digits']
    rows, best = list(shown.rows), 0
    for one in shown.rows:
        if one.row['arm'] == shown.report['reference'] and one.row['status'] == 'ok':
            perfect = {'val': {'accuracy': 1.0}, 'test': {'accuracy': 1.0 - 1e-3 * one.row['seed']}}
            rows.append(dataclasses.replace(one, row={**one.row, **perfect, 'arm': 'mine'}))
            best += 1
    found = entries_of(dataclasses.replace(shown, rows=tuple(rows)))
    (mine,) = [one for one in found if (one.arm, one.metric) == ('mine', 'accuracy')]
    assert best > 1 and mine.difference['verdict'] == 'better'


def test_intervals_of_folds_are_those_of_the_report(tmp_path):
    rows = [
        {
            'arm': arm,
            'rate': None,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': level + 0.01 * (seed % 3)},
            'test': {'accuracy': level + 0.01 * (seed % 4)},
        }
        for arm, level in {'full': 0.6, 'head': 0.5}.items()
        for seed in range(5)
    ]
    (tmp_path / 'runs.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    summary = summarise(rows, reference='head', folds=5, margin=0.2)
    (tmp_path / 'summary.json').write_text(json.dumps(summary))
    (setting,) = settings_below(tmp_path).values()
    for entry in entries_of(setting):
        arm = next(arm for arm in summary['tasks'][0]['arms'] if arm['arm'] == entry.arm)
        assert entry.reference == 'head'
        assert (entry.mean, entry.difference) == (arm['mean'], arm['difference'])


def without_a_seed(rows):
    return [row for row in rows if row['seed'] != 4]


def without_a_rate(rows):
    rate = max(row['rate'] for row in rows)
    return [row for row in rows if row['rate'] != rate]


def each(**changes):
    return lambda rows: [{**row, **changes} for row in rows]


def dirty(rows):
    return [{**row, 'identity': {**row['identity'], 'dirty': True}} for row in rows]


def uncommitted(rows):
    return [{**row, 'identity': {**row['identity'], 'commit': None}} for row in rows]


def better(rows):
    return [{**row, 'test': {**row['test'], 'accuracy': 0.99}} for row in rows]


def unknown(rows):
    return [{**row, 'test': {**row['test'], 'accuracy': None}} for row in rows]


def other_weights(rows):
    found = []
    for row in rows:
        weights = {**row['identity'].get('weights', {}), 'loaded': f'seed {row["seed"]}'}
        found.append({**row, 'identity': {**row['identity'], 'weights': weights}})
    return found


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (without_a_seed, 'other seeds than most arms'),
        (lambda rows: [row for row in rows if row['seed'] < 2], '2 seeds'),
        (without_a_rate, '2 trials, most arms 3'),
        (each(data_fingerprint='0' * 64), 'other data than most arms'),
        (each(data_fingerprint=None), 'without a fingerprint'),
        (each(identity={}), 'do not say what made them'),
        (each(frozen_unchanged=False), 'frozen weights that moved'),
        (each(leaks={'exact': 1, 'near': 0, 'n': 359}), 'stand in training'),
        (each(steps=10**6), 'more than the'),
        (dirty, 'changed after its commit'),
        (uncommitted, 'no commit'),
        (each(val={}), 'rows without accuracy on validation or test data'),
        (better, 'not that of its examples'),
        (unknown, 'not that of its examples'),
        (each(identity='x'), "'identity' is 'x'"),
        (each(identity={'weights': 'x'}), 'weights in it, an object'),
        (other_weights, 'different pretrained weights'),
        (lambda rows: [], 'holds no rows'),
        (lambda rows: [{'arm': 'mine'}], "has no 'seed'"),
    ],
)
def test_a_submission_that_is_not_in_order_does_not(results, change, words):
    folder = handed_in(results, change)
    with pytest.raises(UserError, match=words):
        seal(results, folder, 'quickstart')
    assert not (folder / 'submission.json').exists()


@pytest.mark.parametrize('name', ['runs.jsonl', 'config.py'])
def test_a_file_that_was_changed_after_the_seal_is_refused(results, name):
    folder = handed_in(results)
    seal(results, folder, 'quickstart')
    with (folder / name).open('a', encoding='utf-8') as file:
        file.write('\n')
    board = build(results)
    assert f'{name} is not the file that was sealed' in board.refused['somebody']
    assert not any(e.arm.startswith('somebody') for e in board.entries)


def test_a_setting_that_there_is_not(results):
    folder = handed_in(results)
    sealed = seal(results, folder, 'quickstart')
    before = sealed.read_text('utf-8')
    copied = shutil.copytree(results / 'quickstart', results / 'other') / 'runs.jsonl'
    copied.write_text(copied.read_text('utf-8').replace('"seed": 4', '"seed": 5'), 'utf-8')
    with pytest.raises(UserError, match='would not count'):
        seal(results, folder, 'other')
    assert sealed.read_text('utf-8') == before
    with pytest.raises(UserError, match="did you mean 'quickstart'"):
        seal(results, folder, 'quickstrat')
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        build(results).check('', 'acuracy', None)


def test_configs_are_found_where_the_page_names_them(repository):
    configs = configs_named(repository / 'results')
    assert configs['quickstart'] == 'configs/quickstart.py'
    assert configs['reproductions/t4'] == 'configs/reproductions/t4.py'
    assert all((repository / config).is_file() for config in configs.values())
    assert config_of('reproductions/t4/runs.jsonl', configs).startswith('../configs/')
    assert config_of('nowhere/runs.jsonl', configs) == ''


@pytest.mark.slow
def test_the_committed_pages_are_those_of_the_rows(repository, tmp_path):
    made = shutil.copytree(repository / 'results', tmp_path / 'results')
    shutil.copytree(repository / 'configs', tmp_path / 'configs')
    for path in build(made).write():
        committed = repository / path.relative_to(tmp_path)
        assert path.read_text('utf-8') == committed.read_text('utf-8')


@pytest.mark.slow
def test_the_script(repository, results):
    def call(*flags):
        return subprocess.run(
            [sys.executable, 'scripts/leaderboard.py', f'--results={results}', *flags],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
        )

    done = call('--setting=quickstart', '--metric=accuracy', '--budget=0.5')
    assert done.returncode == 0 and 'last:1' in done.stdout and 'last:4' not in done.stdout
    assert not (results / 'leaderboard').exists()
    done = call('--setting=quikstart')
    assert done.returncode == 2 and "did you mean 'quickstart'" in done.stderr
    assert call().returncode == 0 and (results / 'leaderboard/index.html').exists()


def test_commits_are_links_where_their_address_is_known(results):
    board = build(results)
    commit = board.entries[0].commits[0]
    for path in board.write('https://example.org/o/n/commit/'):
        assert f'https://example.org/o/n/commit/{commit}' in path.read_text('utf-8')
    for path in board.write():
        page = path.read_text('utf-8')
        assert commit in page and 'https://' not in page


def test_a_folder_that_was_used_again_counts_what_its_report_counts(results):
    rows = rows_of(results)
    less = [r for r in rows if r['arm'] in ('full', 'head') and r['seed'] < 3]
    dropped = max(r['rate'] for r in less if r['arm'] == 'head')
    less = [r for r in less if r['arm'] != 'head' or r['rate'] != dropped]
    summary = summarise(less, seeds=(0, 1, 2), reference='full', metric='accuracy')
    write_json(results / 'quickstart/summary.json', to_jsonable(summary))
    found = [e for e in build(results).entries if e.metric == 'accuracy']
    assert {e.arm for e in found} == {'full', 'head'}
    (task,) = summary['tasks']
    for arm in task['arms']:
        (entry,) = (e for e in found if e.arm == arm['arm'])
        assert entry.rate == arm['rate'] and len(entry.seeds) == 3
        assert entry.mean['estimate'] == arm['mean']['estimate']
        assert entry.trials == arm['n_trials']


def test_rows_of_variants_alone_are_left_to_their_report(results):
    rows = rows_of(results)
    named = [r for r in rows if r['arm'] == 'head']
    summary = summarise(named, reference='head', metric='accuracy')
    write_json(results / 'quickstart/summary.json', to_jsonable(summary))
    tuned = [{**r, 'arm': 'head (weight_decay 0.01)'} for r in named]
    text = ''.join(json.dumps(r) + '\n' for r in tuned)
    (results / 'quickstart/runs.jsonl').write_text(text, 'utf-8')
    handed_in(results)
    with pytest.raises(UserError, match='are not those of arms that its report compares'):
        seal(results, results / 'leaderboard/submissions/somebody', 'quickstart')
    board = build(results)
    assert board.entries == () and 'read the report' in board.without['quickstart']
    # A baseline alone, whose reference was tuned, is compared with nothing.
    alone = [{**r, 'arm': 'pixels', 'rate': None} for r in named if r['rate'] == named[0]['rate']]
    told = summarise([*named, *alone], reference='head', metric='accuracy')
    write_json(results / 'quickstart/summary.json', to_jsonable(told))
    text = ''.join(json.dumps(r) + '\n' for r in [*tuned, *alone])
    (results / 'quickstart/runs.jsonl').write_text(text, 'utf-8')
    assert build(results).entries == ()


def test_rows_of_a_task_stand_on_the_board_once(results):
    rows = rows_of(results)
    for place, task in (('', {'task': 'five a class'}), ('five_a_class/', {})):
        folder = results / 'quickstart' / place
        folder.mkdir(exist_ok=True)
        text = ''.join(json.dumps({**row, **task}) + '\n' for row in rows)
        (folder / 'runs.jsonl').write_text(text, 'utf-8')
    assert list(settings_below(results)) == ['quickstart: five a class']
