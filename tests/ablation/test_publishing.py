"""An ablation whose folder is copied to a URL: lost machines, other rows, failing stores."""

import itertools
import json
import os
import shutil
import signal
import sys
import threading

import fsspec
import pytest

from ftjax.ablation.grid.rows import read_rows
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.publishing import publisher
from ftjax.ablation.publishing.publisher import published_at
from ftjax.ablation.publishing.results_at_url import results_at
from ftjax.ablation.settings import AblationSettings
from ftjax.cli.flags import is_folder
from ftjax.distributed.interrupted import Interrupted
from ftjax.distributed.preemption import requested
from ftjax.errors import UserError

PLACES = itertools.count()
VALUES = {'init': 'glyphs', 'train': {'steps': 7}}
ARMS = {'head': 'head', 'full': 'full'}
SETTINGS = AblationSettings(arms=ARMS, rates=(1e-3, 1e-2, 1e-1), seeds=(0,))
TASKS = AblationSettings(
    arms=ARMS,
    rates=(1e-2,),
    seeds=(0,),
    tasks={'one': {'train.steps': 1}, 'two': {'train.steps': 7}},
)


@pytest.fixture(params=['file', 'memory'])
def url(request, tmp_path):
    memory = f'memory://published{next(PLACES)}/runs'
    return {'file': f'file://{tmp_path}/url/runs', 'memory': memory}[request.param]


def at(url, name=''):
    """What lies at the URL: a file's bytes, or the names of all."""
    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    if name:
        return files.cat_file(f'{root}/{name}')
    return {path.removeprefix(f'{root}/') for path in files.find(root)}


def execute(arm, rate, seed):
    accuracy = 0.9 - abs(rate - 1e-2) - 0.01 * len(arm)
    times = {'wall_seconds': 1.0, 'cell_seconds': 1.0}
    return {'status': 'ok', 'val': {'accuracy': accuracy}, 'test': {'accuracy': accuracy}, **times}


def lost_after(count, how):
    """Cells of which the one after `count` is the machine's last."""
    cells = []

    def cell(*given):
        cells.append(given)
        if len(cells) > count:
            how()
        return execute(*given)

    return cell


def fail():
    raise ZeroDivisionError('by nothing')


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    while requested() is None:
        pass


def run(url, folder, cell=execute, settings=SETTINGS, values=VALUES):
    with published_at(url, folder, values, settings):
        rows = run_grid(settings, cell, folder, {'config': values}, progress=False)
        for name in ('summary.json', 'table.md', 'report.html', 'verdicts.json', 'figures/a.png'):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f'{name} of {len(rows)}')
        return rows


@pytest.mark.parametrize(('how', 'raised'), [(fail, ZeroDivisionError), (terminate, Interrupted)])
def test_a_machine_that_is_lost_costs_no_row(tmp_path, url, how, raised):
    with pytest.raises(raised):
        run(url, tmp_path / 'first', lost_after(3, how))
    rows = (tmp_path / 'first' / 'runs.jsonl').read_bytes()
    assert rows.count(b'\n') == {fail: 3, terminate: 4}[how]
    assert at(url, 'runs.jsonl') == rows
    assert at(url) == {'ablation.json', 'runs.jsonl'}
    shutil.rmtree(tmp_path / 'first')
    cells = []
    made = run(url, tmp_path / 'second', lambda *cell: (cells.append(cell), execute(*cell))[1])
    assert len(made) == 6 and len(cells) == 6 - rows.count(b'\n')
    whole = run_grid(SETTINGS, execute, tmp_path / 'whole', {'config': VALUES}, progress=False)
    assert made == whole
    assert at(url, 'runs.jsonl') == (tmp_path / 'second' / 'runs.jsonl').read_bytes()
    assert at(url, 'runs.jsonl').startswith(rows)
    results = {'summary.json', 'table.md', 'report.html', 'verdicts.json', 'figures/a.png'}
    assert at(url) == {'ablation.json', 'runs.jsonl', *results}
    assert at(url, 'figures/a.png') == b'figures/a.png of 6'


def test_rows_are_copied_while_it_runs(tmp_path, url, monkeypatch):
    monkeypatch.setattr(publisher, 'SOON', 0.01)
    monkeypatch.setattr(publisher, 'EVERY', 0.01)
    seen = []

    def cell(*given):
        for _ in range(2000):  # the copy of the rows before this one
            if len(seen) == 0 or at(url) >= {'runs.jsonl'}:
                break
            threading.Event().wait(0.01)
        seen.append(at(url))
        return execute(*given)

    run(url, tmp_path / 'runs', cell)
    assert not seen[0] and seen[1] == {'ablation.json', 'runs.jsonl'}


def test_what_is_as_it_was_is_not_copied_again(tmp_path, url):
    remote = publisher.UrlFolder(url, '--publish')
    run(url, tmp_path / 'runs')
    copies = publisher.Copies(remote, tmp_path / 'runs', ('',))
    copies.rows()
    written = []
    remote.write = lambda name, data: written.append(name)
    copies.rows()
    assert not written
    with open(tmp_path / 'runs' / 'runs.jsonl', 'a') as file:
        file.write('{"arm": "he')
        file.flush()
        copies.rows()
        assert not written  # a row that is being written waits
        file.write('ad"}\n')
    copies.rows()
    assert written == ['runs.jsonl']


def test_other_rows_are_refused_and_both_stay(tmp_path, url):
    run(url, tmp_path / 'first')
    there = at(url, 'runs.jsonl')

    def otherwise(*cell):
        return {**execute(*cell), 'test': {'accuracy': 0.1}}

    run_grid(SETTINGS, otherwise, tmp_path / 'second', {'config': VALUES}, progress=False)
    here = (tmp_path / 'second' / 'runs.jsonl').read_bytes()
    with pytest.raises(UserError, match=r'hold different rows from line 1 on; neither is changed'):
        run(url, tmp_path / 'second', fail)
    assert (tmp_path / 'second' / 'runs.jsonl').read_bytes() == here
    assert at(url, 'runs.jsonl') == there


def test_a_second_process_does_not_overwrite_what_a_first_published(tmp_path, url, caplog):
    def cell(*given):
        if not (tmp_path / 'other').exists():
            run(url, tmp_path / 'other')
        return {**execute(*given), 'wall_seconds': 3.0}

    with pytest.raises(UserError, match='holds rows that another process published; they stay'):
        run(url, tmp_path / 'first', cell)
    assert at(url, 'runs.jsonl') == (tmp_path / 'other' / 'runs.jsonl').read_bytes()
    assert len(read_rows(tmp_path / 'first' / 'runs.jsonl')) == 6


def test_an_older_folder_is_brought_up_to_the_copy(tmp_path, url):
    run(url, tmp_path / 'first')
    shutil.copytree(tmp_path / 'first', tmp_path / 'older')
    path = tmp_path / 'older' / 'runs.jsonl'
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b''.join(lines[:2]) + lines[2][:9])  # and a kill in the midst of the third
    assert len(run(url, tmp_path / 'older', lambda *_: fail())) == 6
    assert path.read_bytes() == b''.join(lines)


def test_the_copy_of_another_ablation_is_refused_before_it_is_fetched(tmp_path, url):
    run(url, tmp_path / 'first')
    told = r'runs holds an ablation of another config: config.train.steps is 7 there and 8 here; '
    with pytest.raises(UserError, match=told + 'choose another --publish'):
        run(url, tmp_path / 'second', values={'init': 'glyphs', 'train': {'steps': 8}})
    assert not (tmp_path / 'second').exists()
    with pytest.raises(UserError, match='holds an ablation without tasks; choose another --publ'):
        run(url, tmp_path / 'second', settings=TASKS)
    files, root = fsspec.core.url_to_fs(url)
    files.rm_file(f'{root}/ablation.json')
    with pytest.raises(UserError, match=r'holds rows and no ablation.json beside them'):
        run(url, tmp_path / 'second')
    assert not (tmp_path / 'second').exists()


def test_each_task_has_its_rows(tmp_path, url):
    def tasks(folder, only=''):
        with published_at(url, folder, VALUES, TASKS, only):
            for task, steps in {'one': 1, 'two': 7}.items():
                if only in ('', task):
                    config = {'config': {**VALUES, 'train': {'steps': steps}}}
                    run_grid(TASKS, execute, folder / task, config, progress=False)
            if not only:
                (folder / 'runs.jsonl').write_text('all rows\n')

    tasks(tmp_path / 'a', 'one')
    assert at(url) == {'one/ablation.json', 'one/runs.jsonl'}
    tasks(tmp_path / 'b', 'two')
    tasks(tmp_path / 'c')
    assert at(url, 'runs.jsonl') == b'all rows\n'
    for task, folder in {'one': 'a', 'two': 'b'}.items():
        rows = (tmp_path / folder / task / 'runs.jsonl').read_bytes()
        assert (tmp_path / 'c' / task / 'runs.jsonl').read_bytes() == rows
        assert at(url, f'{task}/runs.jsonl') == rows


def test_a_store_that_fails_is_told_and_ends_in_an_error(tmp_path, monkeypatch, caplog):
    url = f'memory://published{next(PLACES)}'
    files, _ = fsspec.core.url_to_fs(url)
    monkeypatch.setattr(publisher, 'SOON', 0.01)
    monkeypatch.setattr(publisher, 'EVERY', 0.01)

    def full(*_, **__):
        raise PermissionError('no such key')

    def cell(*given):
        for _ in range(2000):
            if given[1] == 1e-3 or caplog.records:
                break
            threading.Event().wait(0.01)
        return execute(*given)

    monkeypatch.setattr(type(files), 'pipe_file', full)
    told = f'{url}/ablation.json cannot be written: PermissionError: no such key'
    with pytest.raises(UserError, match=f'not published: {told}; all results are in'):
        run(url, tmp_path / 'runs', cell)
    assert [told in record.getMessage() for record in caplog.records] == [True]
    assert len(read_rows(tmp_path / 'runs' / 'runs.jsonl')) == 6
    monkeypatch.undo()
    assert len(run(url, tmp_path / 'runs', lambda *_: fail())) == 6
    assert at(url) >= {'ablation.json', 'runs.jsonl', 'report.html'}


def test_a_stop_is_told_as_it_is_where_the_store_fails_too(tmp_path, monkeypatch, caplog):
    url = f'memory://published{next(PLACES)}'
    monkeypatch.setattr(type(fsspec.core.url_to_fs(url)[0]), 'pipe_file', lambda *_, **__: fail())
    with pytest.raises(Interrupted, match='stopped by SIGTERM after 4 finished runs'):
        run(url, tmp_path / 'runs', lost_after(3, terminate))
    assert 'not published' in caplog.text and 'the rows are in' in caplog.text


def test_a_store_that_cannot_be_read_is_refused_before_the_first_run(tmp_path, monkeypatch):
    url = f'memory://published{next(PLACES)}'
    monkeypatch.setattr(type(fsspec.core.url_to_fs(url)[0]), 'cat_file', lambda *_, **__: fail())
    with pytest.raises(UserError, match=r'/runs.jsonl cannot be read: ZeroDivisionError: by noth'):
        run(url, tmp_path / 'runs', lambda *_: pytest.fail('it was run'))


SECRETS = ('sftp://me:hunter2@host/runs', 's3://KEY:hun/ter2@bucket', 'https://h/x?sig=hunter2')


@pytest.mark.parametrize('url', SECRETS)
@pytest.mark.parametrize('flag', ['--publish', '--results', '--workdir'])
def test_a_url_with_a_secret_is_refused_and_not_repeated(tmp_path, url, flag):
    with pytest.raises(UserError, match=f'^{flag} holds a') as error:
        if flag == '--publish':
            run(url, tmp_path / 'runs', lambda *_: pytest.fail('it was run'))
        elif flag == '--results':
            results_at(url, flag).__enter__()
        else:
            is_folder(url)
    assert 'ter2' not in str(error.value)


def test_what_is_no_url_and_what_cannot_be_opened_is_told(tmp_path, monkeypatch):
    with pytest.raises(
        UserError, match=r"--publish is 's3:/bucket'; expected a URL such as s3://b"
    ):
        run('s3:/bucket', tmp_path / 'runs')
    with pytest.raises(UserError, match='nosuch://place cannot be opened: Protocol not known'):
        run('nosuch://place', tmp_path / 'runs')
    monkeypatch.setitem(sys.modules, 'fsspec', None)
    with pytest.raises(UserError, match='memory://x needs the package fsspec: pip install fsspec'):
        run('memory://x', tmp_path / 'runs')
    assert len(run('', tmp_path / 'runs')) == 6  # nothing needs it without --publish


def test_a_folder_is_not_published_into_itself(tmp_path):
    with pytest.raises(UserError, match='lies in --workdir'):
        run(f'file://{tmp_path}/runs/copy', tmp_path / 'runs')


def test_results_at_a_url_are_read(tmp_path, url):
    run(url, tmp_path / 'first')
    with results_at(url, '--results') as folder:
        names = {path.relative_to(folder).as_posix() for path in folder.rglob('*')}
        assert read_rows(folder / 'runs.jsonl') == read_rows(tmp_path / 'first' / 'runs.jsonl')
    assert names == {'runs.jsonl', 'ablation.json', 'summary.json'} and not folder.exists()
    with results_at(str(tmp_path), '--results') as folder:
        assert folder == tmp_path
    with (
        pytest.raises(UserError, match=r'--results=.*nothing holds no runs.jsonl'),
        results_at(f'{url}/nothing', '--results'),
    ):
        pass
    assert json.loads(at(url, 'ablation.json'))
