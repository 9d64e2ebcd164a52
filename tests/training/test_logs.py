"""Logs survive kills, full disks and several writers."""

import contextlib
import json
import multiprocessing
import os

import numpy as np
import pytest
from tiny_runs import VIT, initial, noise, splits

from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.io.files import atomic
from ftjax.io.json.jsonl import JsonLines, read_jsonl
from ftjax.training.checkpoints.run_identity import PlanChange
from ftjax.training.loop import run_state
from ftjax.training.loop.metrics_log import MetricsLog
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec


@pytest.mark.parametrize(
    'tail,rows',
    [
        (b'{"a": 2, "b"', 1),  # half a line: cut off
        (b'{"a": 2}', 2),  # whole, without its newline: kept
        (b'{"a": "' + b'x' * 9000, 1),  # longer than a block of the search
        (b'', 1),
    ],
)
def test_torn_last_line_is_repaired(tmp_path, tail, rows):
    path = tmp_path / 'runs.jsonl'
    path.write_bytes(b'{"a": 1}\n' + tail)
    assert len(read_jsonl(path)) == rows
    with JsonLines(path) as lines:
        lines.append({'a': 3})
    assert [row['a'] for row in read_jsonl(path)] == ([1, 3] if rows == 1 else [1, 2, 3])
    assert path.read_bytes().endswith(b'}\n')


def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path):
    path = tmp_path / 'runs.jsonl'
    path.write_bytes(b'{"a"')
    JsonLines(path).close()
    assert path.read_bytes() == b''


def test_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / 'runs.jsonl'
    path.write_bytes(b'{"a": 1}\n{"a":\n{"a": 2}\n')
    with pytest.raises(UserError, match='line 2'):
        read_jsonl(path)
    assert read_jsonl(tmp_path / 'absent.jsonl') == []


def _write_many(path, writer):
    with JsonLines(path) as lines:
        for i in range(100):
            lines.append({'writer': writer, 'i': i, 'padding': 'x' * 3000})


def test_processes_append_without_interleaving(tmp_path):
    path = tmp_path / 'runs.jsonl'
    context = multiprocessing.get_context('fork')
    workers = [context.Process(target=_write_many, args=(path, w)) for w in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rows = read_jsonl(path)
    assert len(rows) == 300
    for writer in range(3):
        assert [row['i'] for row in rows if row['writer'] == writer] == list(range(100))


def test_metrics_log_continues_from_the_checkpoint(tmp_path):
    with MetricsLog(tmp_path) as log:
        for step in range(1, 6):
            log.write(step, {'loss': np.float32(step), 'bad': float('nan')})
    kept = read_jsonl(tmp_path / 'metrics.jsonl')[:3]
    with MetricsLog(tmp_path, rows=kept) as log:
        log.write(4, {'loss': 40})
    rows = read_jsonl(tmp_path / 'metrics.jsonl')
    assert [row['step'] for row in rows] == [1, 2, 3, 4]
    assert rows[3]['loss'] == 40 and rows[0] == {'step': 1, 'loss': 1.0, 'bad': None}


def test_tensorboard_events_are_written(tmp_path):
    pytest.importorskip('tensorboardX')
    with MetricsLog(tmp_path, loggers=['tensorboard']) as log:
        log.write(1, {'loss': 0.5, 'note': 'text is left to the JSON'})
    events = list(tmp_path.glob('events.out.tfevents.*'))
    assert len(events) == 1 and b'loss' in events[0].read_bytes()


def test_atomic_write_leaves_the_old_file_when_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / 'result.json'
    atomic.write_json(path, {'n': 1, 'array': np.arange(2), 'path': path})
    assert atomic.read_json(path) == {'n': 1, 'array': [0, 1], 'path': str(path)}

    def full(_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(UserError, match='No space left'):
        atomic.write_json(path, {'n': 2})
    assert json.loads(path.read_text())['n'] == 1
    assert [item.name for item in tmp_path.iterdir()] == ['result.json']


def test_read_json_names_the_line(tmp_path):
    (tmp_path / 'a.json').write_text('{\n"a": 1,\n}')
    with pytest.raises(UserError, match='line 3'):
        atomic.read_json(tmp_path / 'a.json')
    with pytest.raises(UserError, match='no such file'):
        atomic.read_json(tmp_path / 'b.json')


def test_what_cannot_be_json_is_refused(tmp_path):
    with pytest.raises(TypeError, match='cannot write a object'):
        atomic.write_json(tmp_path / 'a.json', {'a': object()})
    assert not list(tmp_path.iterdir())


def test_loggers_learn_whether_a_run_is_new(tmp_path, monkeypatch):
    told = []

    class Spy(MetricsLog):
        def __init__(self, folder, *, resume_step, **given):
            told.append(resume_step)
            super().__init__(folder, resume_step=resume_step, **given)

    monkeypatch.setattr(run_state, 'MetricsLog', Spy)
    data, variables = splits(noise, 6, 3, 3), initial(VIT)
    plan = make_plan('head', VIT, variables)
    spec = RunSpec(VIT, variables, plan, data, settings=TrainSettings(steps=1), batch_size=3)
    for _ in range(2):  # the second finds what the first has logged, and no checkpoint
        with contextlib.ExitStack() as stack:
            state = run_state.RunState(PhaseState(spec), spec.settings, variables)
            state.open(stack, tmp_path, PlanChange())
    assert told == [None, 0]
