"""Latency: percentiles by hand, the protocol, what a precision changes, a section of the result."""

import itertools
import json

import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.evaluation.latency import WARM_UP, Calls, forward_latency, percentiles
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.own_format import save_own
from ftjax.runs.assessment.latency_report import LatencyRequest, change, latency_report

VIT = build(
    'vit',
    {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2, 'num_classes': 3},
)


def test_percentiles_are_numpys_and_none_where_calls_are_few():
    seconds = np.random.default_rng(0).exponential(0.01, 100)
    found = percentiles(seconds, 8)
    for share in (50, 95, 99):
        assert found[f'p{share}_ms'] == pytest.approx(1000 * np.quantile(seconds, share / 100))
    assert found['examples_per_second'] == pytest.approx(800 / seconds.sum())
    few = percentiles(seconds[:19], 8)
    assert few['p50_ms'] is not None and few['p95_ms'] is None and few['p99_ms'] is None


def test_calls_are_counted_after_the_warm_up_by_the_clock():
    """A clock that ticks 10 ms whenever it is read: each call takes one tick."""
    ticks = itertools.count()
    row = forward_latency(
        VIT,
        random_variables(VIT, 0),
        Preprocessing(image_size=(8, 8)),
        np.zeros((4, 8, 8, 3), np.uint8),
        Calls(30, 0.1),
        lambda: next(ticks) * 0.01,
    )
    assert row['p50_ms'] == pytest.approx(10) and row['examples_per_second'] == pytest.approx(400)
    assert row['calls'] >= WARM_UP and row['batch_size'] == 4
    assert row['argument_bytes'] > 0 and row['output_bytes'] >= 4 * 3 * 4


def test_a_change_of_outputs():
    exact = np.array([[1.0, 2.0], [3.0, 0.0]])
    found = change(exact, np.array([[1.5, 2.0], [3.0, 4.0]]))
    assert found['largest_change'] == 4 and found['share_of_answers_changed'] == 0.5
    assert 'share_of_answers_changed' not in change(exact[:, :1], exact[:, :1])


@pytest.mark.slow
def test_a_report_of_a_checkpoint(tmp_path):
    save_own(
        tmp_path / 'net',
        VIT,
        random_variables(VIT, 0),
        Preprocessing(image_size=(8, 8)),
        ('a', 'b', 'c'),
    )
    said = []
    request = LatencyRequest(
        init=str(tmp_path / 'net'), batch_sizes=(1, 2), calls=Calls(5, 0.0), start=False
    )
    found = latency_report(request, said.append)
    kinds = [(row['precision'], row['batch_size']) for row in found['rows']]
    names = ('float32', 'bfloat16 weights', 'bfloat16')
    assert kinds == [(name, size) for name in names for size in (1, 2)]
    half, whole = (
        next(r for r in found['rows'] if r['precision'] == name) for name in names[1::-1]
    )
    assert 1.5 * half['argument_bytes'] < whole['argument_bytes']
    for name in names[1:]:
        assert 0 < found['change'][name]['largest_change'] < 0.2
    json.dumps(found)
    assert len(said) == 8
    with pytest.raises(UserError, match='takes images'):
        latency_report(
            LatencyRequest(init=str(tmp_path / 'net'), lengths=(8,), start=False), said.append
        )
    with pytest.raises(UserError, match='at least 1'):
        LatencyRequest(init='x', batch_sizes=(0,))


@pytest.mark.slow
def test_starts_are_measured_and_kept_in_the_result(repository, tmp_path):
    import subprocess
    import sys

    run = tmp_path / 'run'
    few = ('--config.train.steps=2', '--config.data.examples_per_class=2')
    for words in (
        ('train', '--config=configs/quickstart_train.py', *few),
        ('latency', '--batch_sizes=1', '--calls=5'),
    ):
        done = subprocess.run(
            [sys.executable, f'scripts/{words[0]}.py', *words[1:], f'--workdir={run}'],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    kept = json.loads((run / 'result.json').read_text())
    start = kept['latency']['start']
    assert start['warm']['compile_seconds'] < start['cold']['compile_seconds']
    assert kept['metrics']['n'] and kept['latency']['machine']
