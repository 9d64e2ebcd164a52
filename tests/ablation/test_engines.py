"""Every engine gives the rows of the simplest one; a worker that dies costs its cell alone."""

import os

import pytest
from toy_cells import SETTINGS, Toy

from ftjax.ablation.engines.factory import make_engine
from ftjax.ablation.engines.process_workers import Processes
from ftjax.ablation.grid.forecast import forecast
from ftjax.ablation.grid.run_grid import jobs_of, run_grid
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError
from ftjax.io.json.jsonl import read_jsonl

TWICE, ONCE = ('head', 1e-2, 1), ('full', 1e-3, 0)


def run(folder, engine=None, toy=None, **options):
    toy = toy or Toy()
    return run_grid(SETTINGS, toy, folder, {}, progress=False, engine=engine, **options)


def cell_of(row):
    return row['arm'], row['rate'], row['seed']


def check_deaths(tmp_path, engine, word):
    """One cell kills every worker, one its first; all other rows are those of this process."""
    whole = run(tmp_path / 'whole')
    mark = tmp_path / 'mark'
    rows = run(tmp_path / 'parts', engine, Toy(deadly=(TWICE,), once=(ONCE,), mark=str(mark)))
    assert mark.exists()
    assert [cell_of(row) for row in rows] == [cell_of(row) for row in whole]
    for row, other in zip(rows, whole, strict=True):
        if cell_of(row) == TWICE:
            assert row['status'] == 'failed'
            assert 'its worker died twice' in row['reason'] and word in row['reason']
        else:
            assert row == {**other, 'workers': 2}
    written = read_jsonl(tmp_path / 'parts' / 'runs.jsonl')
    assert sorted(map(cell_of, written), key=str) == sorted(map(cell_of, rows), key=str)
    # Nothing of it is run again, on whatever engine.
    assert run(tmp_path / 'parts', toy=Toy(faulty=tuple(map(cell_of, rows)))) == rows


def test_processes_give_the_rows_of_one_process_and_survive_deaths(tmp_path):
    check_deaths(tmp_path, Processes(2), 'SIGKILL')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['processes', 'ray'])
def test_what_a_cell_raises_ends_the_grid_and_the_workers(tmp_path, name, request):
    if name == 'ray':
        request.getfixturevalue('cluster')
    with pytest.raises(UserError, match=r'^no such thing as head$'):
        run(tmp_path / 'user', make_engine(name, 2), Toy(mistaken=(TWICE,)))
    with pytest.raises(RuntimeError, match=r"the run \('head', 0.01, 1\) failed in a worker"):
        run(tmp_path / 'fault', make_engine(name, 2), Toy(faulty=(TWICE,)))
    assert run(tmp_path / 'user', make_engine(name, 1)) == run(tmp_path / 'whole')


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_told_of(tmp_path):
    with pytest.raises(UserError, match='exit code 7 before its first run; try fewer --workers'):
        run(tmp_path, Processes(2, start=Exit(7)))
    assert read_jsonl(tmp_path / 'runs.jsonl') == []


@pytest.mark.slow
def test_a_cluster_gives_the_rows_of_one_process_and_survives_deaths(tmp_path, cluster):
    check_deaths(tmp_path, make_engine('ray', 2), 'Actor')


class Exit:
    """Ends the process it is called in."""

    def __init__(self, code):
        self.code = code

    def __call__(self):
        os._exit(self.code)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('proceses',), "unknown engine 'proceses'; did you mean 'processes'"),
        (('processes', 0), '--workers is 0'),
        (('in_process', 2), '--workers=2 goes with --engine=processes or ray'),
        (('processes', 2, None, 'auto'), '--ray_address goes with --engine=ray'),
    ],
)
def test_an_engine_that_cannot_be_is_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        make_engine(*arguments)


def test_cells_that_differ_in_their_rate_alone_run_together(tmp_path):
    group = {'full': '', 'head': 'head', 'none': ''}.__getitem__
    rows = run(tmp_path / 'together', together=Toy().together, group=group)
    plain = run(tmp_path / 'plain')
    for row, other in zip(rows, plain, strict=True):
        many = row.pop('vectorised', None)
        assert row == other
        assert (many is not None) == (row['arm'] == 'head' and row['rate'] in SETTINGS.rates)
        assert many in (None, 3)
    # The rate beyond the edge is one a seed: nothing to share.
    assert {row['rate'] for row in rows if row['arm'] == 'head'} > set(SETTINGS.rates)


def test_a_forecast_counts_workers_and_knows_arms_that_have_run():
    cells = [(arm, rate, seed) for arm in ('a', 'b') for rate in (0.1, 0.2) for seed in (0, 1)]
    jobs = jobs_of(cells, {'a': '', 'b': 'b'}.__getitem__)
    assert [len(job) for job in jobs] == [1, 1, 2, 1, 1, 2]
    rows = [{'arm': 'a', 'status': 'ok', 'wall_seconds': 30.0}]
    said = [forecast(jobs, rows, {'b': 10.0}.__getitem__, workers) for workers in (1, 2)]
    assert said[0].startswith('8 to run now, 4 of them in 2 programs: about 2 min 40 s, comp')
    assert said[1].startswith('8 to run now, 4 of them in 2 programs: about 1 min 20 s with 2 wo')
    assert '1.0 GB of disk' in forecast(jobs, rows, {'b': 1.0}.__getitem__, stored=10**9)


def test_how_many_ran_at_a_time_is_said_by_the_rows_alone(tmp_path):
    rows = run(tmp_path, Processes(2))
    assert {row['workers'] for row in rows} == {2}
    for found, said in ((rows, True), ([{**row, 'workers': 1} for row in rows], False)):
        caveats = summarise(found, reference='full')['caveats']
        assert any('up to 2 at a time' in caveat for caveat in caveats) == said


def test_runs_over_several_devices_are_told_of(tmp_path):
    rows = run(tmp_path)
    parted = [{**row, 'devices': 2} if row['arm'] == 'full' else row for row in rows]
    for found, told in ((rows, False), (parted, True)):
        caveats = summarise(found, reference='full')['caveats']
        assert any('in parts over several devices (full over 2)' in one for one in caveats) == told
