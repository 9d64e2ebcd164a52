"""Head2Toe: the group lasso at its optimum, the features it keeps, its row of an ablation."""

import jax
import numpy as np
import pytest

from ftjax.ablation.cells.head2toe_row import stages_of, taps_of
from ftjax.ablation.cells.run_cell import CellRunner
from ftjax.ablation.settings import AblationSettings
from ftjax.data.streams.evaluation_batches import eval_batches
from ftjax.distributed.sharding import Sharding
from ftjax.errors import UserError
from ftjax.evaluation.predict import Forward, predict
from ftjax.evaluation.predictions import gather
from ftjax.evaluation.stage_features import StageForward, stage_features
from ftjax.training.sweeps.head2toe import (
    fit_head2toe,
    group_lasso,
    joined,
    largest_penalty,
)
from ftjax.training.sweeps.linear_probe import fit_probe
from ftjax.xla.program_cache import program


def made(count, seed=0):
    """Two features that tell three classes, ten that tell nothing."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])[labels]
    signal = centres + 0.7 * draw.normal(size=(count, 2))
    noise = draw.normal(size=(count, 10))
    return np.concatenate([noise[:, :5], signal, noise[:, 5:]], axis=1), labels


def gradient(x, y, weights):
    """By rows of the weights, at the bias that fits them best."""
    bias = np.zeros(3)
    for _ in range(2000):
        logits = x @ weights + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        bias -= (p - np.eye(3)[y]).mean(0)
    return x.T @ (p - np.eye(3)[y]) / len(y)


@pytest.mark.parametrize('share', [0.5, 0.05])
def test_the_group_lasso_meets_its_conditions_of_optimality(share):
    x, y = made(120)
    penalty = share * largest_penalty(x, y, 3)
    weights = group_lasso(x, y, 3, penalty, steps=3000)
    slope, length = gradient(x, y, weights), np.linalg.norm(weights, axis=1)
    kept = length > 0
    assert kept[5:7].all() and (share < 0.5 or kept.sum() == 2)
    wanted = -penalty * weights[kept] / length[kept, None]
    np.testing.assert_allclose(slope[kept], wanted, atol=2e-3 * penalty + 2e-5)
    assert (np.linalg.norm(slope[~kept], axis=1) <= penalty * 1.001).all()


def test_no_feature_is_left_from_the_largest_penalty_on():
    x, y = made(60)
    largest = largest_penalty(x, y, 3)
    assert not group_lasso(x, y, 3, 1.0001 * largest).any()
    assert group_lasso(x, y, 3, 0.9 * largest).any()
    with pytest.raises(UserError, match='must not be negative'):
        group_lasso(x, y, 3, -1.0)


def test_what_tells_the_classes_is_kept():
    head = fit_head2toe(made(120), made(60, 1), 3, 2 / 12)
    assert head.kept.tolist() == [5, 6]
    x, y = made(90, 2)
    alone = fit_probe(made(120)[0][:, 5:7], made(120)[1], 3, penalties=(1.0,))
    assert (head.logits(x).argmax(1) == y).mean() >= alone.accuracies(x[:, 5:7], y)[0] - 0.03
    assert fit_head2toe(made(120), made(60, 1), 3, 1.0).kept.tolist() == list(range(12))


def test_each_tap_has_length_one():
    draw = np.random.default_rng(0)
    taps = [draw.normal(size=(4, 3)), 100 * draw.normal(size=(4, 5)), np.zeros((4, 2))]
    found = joined(taps)
    assert found.shape == (4, 10) and np.isfinite(found).all()
    np.testing.assert_allclose((found**2).sum(1), 2.0, rtol=1e-6)


def runner_of(share):
    settings = AblationSettings(
        arms={'head2toe': {'baseline': {'name': 'head2toe', 'share': share}}}, seeds=(0,)
    )
    values = {
        'init': 'glyphs',
        'data': {
            'source': 'digits:scattered',
            'examples_per_class': 3,
            'val_per_class': 2,
            'test_per_class': 2,
            'eval_batch_size': 40,
        },
    }
    return CellRunner(values, settings)


def test_its_row():
    runner = runner_of(0.1)
    runner.check()
    row = runner('head2toe', None, 0)
    prepared = runner.prepared('head2toe', None, 0)
    stages = [name for name in prepared.network.stages if name != 'head']
    assert list(row['kept']) == stages and len(stages) > 3
    assert row['params_trainable'] == (sum(row['kept'].values()) + 1) * 10
    assert row['status'] == 'ok' and row['test']['n'] == 20 and row['test']['accuracy'] > 0.15


def test_the_features_of_all_stages_take_one_pass():
    prepared = runner_of(0.1).prepared('head2toe', None, 0)
    network, part = prepared.network, prepared.data.test
    stages = stages_of(prepared)
    settings, preprocessing = prepared.config.data, prepared.preprocessing
    batches = [*eval_batches(part, settings.eval_batch_size, settings.image_size, preprocessing)]
    for stage, found in zip(stages, taps_of(prepared, part, stages), strict=True):
        pairs = predict(network, prepared.variables, batches, preprocessing, stage=stage)
        wanted = gather(pairs).outputs
        assert found.shape == wanted.shape and len(found) == 20
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    given = jax.device_put((prepared.variables, batches[0]['inputs']))
    whole = Forward(network, preprocessing, None, Sharding())
    every = StageForward(network, preprocessing, stages)
    one, other = (program(run, *given).flops for run in (every, whole))
    assert one < 1.05 * other
    with pytest.raises(UserError, match="did you mean 'block_0"):
        stage_features(network, prepared.variables, batches, preprocessing, ['block_0'])


def test_features_of_texts_are_in_the_order_of_the_split():
    values = {
        'init': 'docstrings',
        'data': {
            'source': 'docstrings',
            'examples_per_class': 1,
            'val_per_class': 1,
            'test_per_class': 8,
            'eval_batch_size': 4,
        },
    }
    settings = AblationSettings(arms={'head2toe': {'baseline': 'head2toe'}}, seeds=(0,))
    prepared = CellRunner(values, settings).prepared('head2toe', None, 0)
    part, last = prepared.data.test, stages_of(prepared)[-1:]
    batches = [*eval_batches(part, 4, None, prepared.preprocessing)]
    index = np.concatenate([batch['index'][batch['mask'] > 0] for batch in batches])
    assert (np.diff(index) < 0).any()  # batches come by length
    (found,) = taps_of(prepared, part, last)
    pairs = predict(
        prepared.network, prepared.variables, batches, prepared.preprocessing, stage=last[0]
    )
    np.testing.assert_allclose(found, gather(pairs).outputs, rtol=1e-4, atol=1e-4)


def test_a_share_that_is_none():
    with pytest.raises(UserError, match='expected above 0 to 1'):
        runner_of(0.0).check()
