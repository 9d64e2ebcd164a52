"""A signal stops the loop after its present call; the run goes on from there, bit for bit."""

import os
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from tiny_runs import VIT as NET
from tiny_runs import initial, noise, splits

from ftjax.cli import launch
from ftjax.distributed import preemption
from ftjax.distributed.interrupted import Interrupted
from ftjax.distributed.preemption import requested, stops_on_signals
from ftjax.freezing import make_plan
from ftjax.freezing.run_length import RunLength
from ftjax.io.files.saved_step import restored, steps_in
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.checkpoints.run_identity import PlanChange
from ftjax.training.loop import fit as fit_module
from ftjax.training.loop import run_state, step_runner
from ftjax.training.loop.fit import fit
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

ADAM = OptimizerSettings(learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0, ema=0.5)


DATA = splits(noise, 36, 8, 9)


@pytest.fixture(scope='module')
def variables():
    return initial(NET)


def run(variables, folder, freeze='last:1', plan_change=PlanChange(), **train):  # noqa: B008
    return fit(
        RunSpec(
            NET,
            variables,
            make_plan(freeze, NET, variables, run_length=RunLength(12, 3)),
            DATA,
            optimizer=ADAM,
            settings=TrainSettings(
                **{'steps': 12, 'eval_every': 2.0, 'steps_per_call': 1, **train}
            ),
            batch_size=12,
            eval_batch_size=4,
        ),
        workdir=folder,
        progress=False,
        plan_change=plan_change,
    )


def send(signum=signal.SIGTERM):
    os.kill(os.getpid(), signum)
    end = time.monotonic() + 5
    while requested() is None and time.monotonic() < end:
        time.sleep(0.001)


def stop_at(patch, owner, name, call):
    """Sends SIGTERM at a call of a function."""
    function, calls = getattr(owner, name), []

    def stopping(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            send()
        return function(*args, **kwargs)

    patch.setattr(owner, name, stopping)


@pytest.mark.parametrize(
    'freeze,moments',
    [
        ('last:1', [('leaf_rates', 2, 2), ('leaf_rates', 1, 3), ('answers', 1, 6)]),
        # test_resume_phases.py stops it at every validation.
        pytest.param(
            'gradual',
            [('leaf_rates', 3, 3), ('answers', 1, 6), ('answers', 2, 12)],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            'autofreeze:3', [('probe', 1, 5), ('leaf_rates', 6, 11)], marks=pytest.mark.slow
        ),
    ],
)
def test_it_stops_saves_and_goes_on_to_the_same_bits(
    variables, tmp_path, monkeypatch, freeze, moments
):
    whole = run(variables, tmp_path / 'whole', freeze)
    for name, call, step in moments:
        with monkeypatch.context() as patch:
            owner = step_runner if name == 'leaf_rates' else fit_module
            stop_at(patch, owner, 'DataProbe' if name == 'probe' else name, call)
            with pytest.raises(Interrupted, match=f'SIGTERM at step {step} of 12; saved'):
                run(variables, tmp_path / 'parts', freeze)
        assert steps_in(tmp_path / 'parts' / 'checkpoints')[-1] == step
    parts = run(variables, tmp_path / 'parts', freeze)
    assert all(
        map(np.array_equal, jax.tree.leaves(whole.variables), jax.tree.leaves(parts.variables))
    )
    files = [(tmp_path / name / 'metrics.jsonl').read_bytes() for name in ('whole', 'parts')]
    assert files[0] == files[1] and files[0].count(b'\n') == 2
    assert parts.validation == whole.validation and parts.best_step == whole.best_step
    assert parts.step_flops == whole.step_flops
    assert [p['steps'] for p in parts.phases] == [p['steps'] for p in whole.phases]


def test_a_run_made_shorter_than_it_is_ends_with_a_validation(variables, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, step_runner, 'leaf_rates', 8)
        with pytest.raises(Interrupted, match='at step 8 of 12; saved'):
            run(variables, tmp_path)
    result = run(variables, tmp_path, plan_change=PlanChange(('train.steps',), True), steps=6)
    assert result.steps == 8 and result.history[-1]['step'] == 8
    assert 0 <= result.history[-1]['rate'] < 1e-3  # the last of the schedule of 6


def test_an_interrupted_save_keeps_the_best_validation_apart(variables, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, step_runner, 'leaf_rates', 8)
        with pytest.raises(Interrupted):
            run(variables, tmp_path)
    saved = restored(tmp_path / 'checkpoints')
    assert steps_in(tmp_path / 'checkpoints') == (6, 8) and saved.step == 8
    assert saved.items['progress']['best']['step'] == 6


def test_without_a_folder_it_stops_and_says_that_nothing_is_saved(variables, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, step_runner, 'leaf_rates', 2)
        with pytest.raises(Interrupted, match='at step 2 of 12; nothing is saved') as caught:
            run(variables, None)
    assert launch.explain(caught.value) == (str(caught.value), 143)


def test_the_former_handlers_come_back_and_a_later_run_is_not_stopped(variables):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as caught, stops_on_signals():
        with stops_on_signals():  # nested, as a trial run inside a run is
            send(signal.SIGINT)
        preemption.stop_if_requested()
    assert caught.value.status == 130
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert requested() is None
    assert run(variables, None).steps == 12


def test_outside_the_main_thread_it_does_nothing():
    found = []

    def inside():
        with stops_on_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


BUSY = """
import sys, time, hashlib
from ftjax.distributed.preemption import requested, stops_on_signals
with stops_on_signals():
    print('ready', flush=True)
    if sys.argv[1] == 'fork':
        import os, signal
        child = os.fork()
        if not child:
            time.sleep(60)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        print(os.waitpid(child, 0)[1], requested(), flush=True)
    else:
        hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)  # minutes in C, no bytecode between
"""


def start(how):
    process = subprocess.Popen(
        [sys.executable, '-c', BUSY, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'ready\n'
    return process


def test_a_second_signal_ends_it_at_once_even_inside_a_long_call():
    with start('busy') as process:
        process.send_signal(signal.SIGTERM)
        assert 'SIGTERM: stopping after the present step' in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.stderr.read() == 'SIGINT again: ending at once\n'
        assert process.wait(10) == 130 and time.monotonic() - began < 5


def test_a_signal_to_a_forked_child_is_its_own():
    with start('fork') as process:
        assert process.stdout.readline() == f'{int(signal.SIGTERM)} None\n'
        assert process.wait(10) == 0


def test_a_row_is_not_written_twice(variables, tmp_path, monkeypatch):
    """A kill between the row and its checkpoint, after a stop in that very validation."""
    whole = run(variables, tmp_path / 'whole')
    with monkeypatch.context() as patch:
        stop_at(patch, fit_module, 'answers', 1)
        with pytest.raises(Interrupted):
            run(variables, tmp_path / 'parts')
    with monkeypatch.context() as patch:

        def killed(*_):
            raise SystemExit

        patch.setattr(run_state, 'to_saved', killed)
        with pytest.raises(SystemExit):
            run(variables, tmp_path / 'parts')
    run(variables, tmp_path / 'parts')
    files = [(tmp_path / name / 'metrics.jsonl').read_bytes() for name in ('whole', 'parts')]
    assert files[0] == files[1] and whole.steps == 12
