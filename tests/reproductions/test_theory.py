"""Two-layer networks under a plan, against least squares and against their theorems."""

import numpy as np
import pytest

from ftjax.ablation.gates.gates import gate, ordering
from ftjax.ablation.statistics.comparison import compare_to_reference
from ftjax.reproductions.descent import descend, predictions, stacked
from ftjax.reproductions.linear_theory import errors as linear_errors
from ftjax.reproductions.linear_theory import verdicts
from ftjax.reproductions.relu_theory import errors as relu_errors
from ftjax.reproductions.two_layer import TwoLayer


def test_probing_by_descent_is_least_squares_and_leaves_the_features_alone():
    draw = np.random.default_rng(0)
    first, last = draw.normal(size=(2, 6, 4)), draw.normal(size=(2, 4))
    x, y = draw.normal(size=(2, 30, 6)), draw.normal(size=(2, 30))
    network = TwoLayer(inputs=6, width=4, act='identity')
    start = stacked(first, last)
    data = x.astype(np.float32), y.astype(np.float32)
    end = descend(network, start, 'head', *data, np.full(2, 0.05), 3000)
    kernels = [v['params']['block_00']['dense']['kernel'] for v in (start, end)]
    assert np.array_equal(*kernels)
    for run in range(2):
        best = np.linalg.lstsq(x[run] @ first[run], y[run], rcond=None)[0]
        found = np.asarray(end['params']['head']['dense']['kernel'])[run, :, 0]
        assert np.allclose(found, best, atol=1e-4)
        outputs = predictions(network, end, data[0])[run]
        assert np.allclose(outputs, x[run] @ first[run] @ best, atol=1e-3)


def test_the_linear_theorems_hold_on_one_seed():
    found = {error: linear_errors(error, seeds=2, steps=8000) for error in (0.1, 1.0)}
    assert found[0.1]['LP']['ood'].mean() < found[0.1]['FT']['ood'].mean()
    for arms in found.values():
        assert (arms['FT']['id'] < arms['LP']['id']).all()
        assert arms['LP-FT']['ood'].mean() < arms['LP']['ood'].mean()
    told = verdicts(found)
    assert [row['kind'] for row in told].count('report') == 1
    gates = {row['gate']: row for row in told if row['kind'] == 'gate'}
    assert all(row['passed'] is not False for name, row in gates.items() if 'ID' in name)
    inside = found[1.0]['LP']['id'] - found[1.0]['FT']['id']
    assert gates['error 1: ID error FT below LP']['value'] == pytest.approx(inside.mean())


def test_an_output_shift_is_met_by_the_last_layer_and_an_input_shift_by_the_first():
    output = relu_errors('output', 80, seeds=2, steps=1500)
    given = relu_errors('input', 80, seeds=2, steps=1500)
    assert (output['last']['test'] < 0.1 * output['first']['test']).all()
    assert given['first']['test'].mean() < given['last']['test'].mean()


def test_an_ordering_is_judged_as_the_table_is():
    draw = np.random.default_rng(0)
    errors = {arm: mean + draw.normal(0, 0.1, 4) for arm, mean in (('all', 1), ('a', 0), ('b', 2))}
    low, high = ordering('a', errors, 'a', 'all', 'all'), ordering('b', errors, 'b', 'all', 'all')
    assert low['passed'] is True and high['passed'] is False and low['value'] > 0
    table = compare_to_reference(errors, 'all', higher_is_better=False, margin=0.0)
    assert low['interval'] == pytest.approx([-table['a'].high, -table['a'].low])
    blown = {**errors, 'a': np.array([np.inf, 0.0, 0.1, np.inf])}
    assert np.isfinite(ordering('a', blown, 'a', 'all', 'all')['value'])


def test_a_gate_passes_by_its_interval_and_a_report_says_nothing():
    assert gate('up', np.array([1.9, 2.0, 2.1]))['passed'] is True
    assert gate('down', np.array([-1.9, -2.0, -2.1]))['passed'] is False
    assert gate('unsettled', np.array([1.0, 2.0]))['passed'] is None
    told = gate('either', np.array([1.0, 2.0]), 'report')
    assert told['passed'] is None and told['value'] == pytest.approx(1.5)
