"""Traces of some steps, and a word where steps wait for their data."""

import gc
import logging
import types
import weakref

import pytest

from ftjax.training.loop import profiling
from ftjax.training.loop.profiling import Profile, warn_of_waiting
from ftjax.training.loop.timings import PhaseTimes, Timings
from ftjax.xla.program_cache import Program


def test_programs_that_the_cache_drops_are_freed():
    timings = Timings()
    timings.phases = [PhaseTimes({'start': 0})]
    program = Program(None, 2.0)
    program.__dict__.update(flops=1.0, bytes=1)
    timings.add(program, 0.5, 1)
    timings.add(program, 0.5, 1)
    assert timings.compile_seconds == 2.0 and len(timings.phases[0].warm) == 1
    kept = weakref.ref(program)
    del program
    gc.collect()
    assert kept() is None


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setattr(profiling.jax.profiler, 'start_trace', found.append)
    monkeypatch.setattr(profiling.jax.profiler, 'stop_trace', lambda: found.append('stop'))
    return found


def test_the_calls_after_the_first_are_traced_until_enough_steps_are(tmp_path, calls):
    profile = Profile(tmp_path, 5)
    seen = []
    for _ in range(5):
        profile.before_call()
        profile.after_call(3)
        seen.append(list(calls))
    assert seen == [[], [str(tmp_path)], *[[str(tmp_path), 'stop']] * 3]
    profile.stop()
    assert len(calls) == 2


def test_a_run_that_ends_first_writes_what_there_is(tmp_path, calls):
    profile = Profile(tmp_path, 100)
    profile.before_call()
    profile.before_call()
    profile.stop()
    assert calls == [str(tmp_path), 'stop']


@pytest.mark.parametrize('folder,steps', [(None, 5), ('somewhere', 0)])
def test_nothing_is_traced_unless_it_is_asked_for(calls, folder, steps):
    profile = Profile(folder, steps)
    for _ in range(3):
        profile.before_call()
        profile.after_call(5)
    profile.stop()
    assert calls == []


@pytest.mark.parametrize(
    'seconds,told',
    [({'data': 60, 'step': 40}, True), ({'data': 60, 'step': 400}, False), ({'data': 1}, False)],
)
def test_waiting_for_data_is_told_where_it_matters(caplog, seconds, told):
    with caplog.at_level(logging.WARNING):
        warn_of_waiting(seconds)
    assert ('waited 60 s for their data, 60 %' in caplog.text) == told


def test_flops_are_those_of_all_parts_and_devices():
    timings = Timings()
    timings.enter(types.SimpleNamespace(start=0, cut='head', size=lambda **_: 5))
    program = Program(None, 1.0)
    program.__dict__.update(flops=10.0, bytes=3)
    timings.add(program, 2.0, 4, counted_once=6)
    timings.add(program, 2.0, 4, counted_once=6)
    assert timings.flops == 60 == timings.to_json()[0]['step_flops']
    assert timings.bytes == 3


def test_timings_go_on_over_an_interruption():
    first = Timings()
    with first.stage('data'):
        pass
    first.stages['step'] = 2.5
    saved = first.to_saved()
    again = Timings.from_saved({**saved, 'wall': 100.0})
    assert again.stages['step'] == 2.5 and again.stages['data'] > 0
    assert 100 <= again.wall_seconds < 160
