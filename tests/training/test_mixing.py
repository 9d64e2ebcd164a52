"""Mixed batches in training: both labels count, metrics are of clean ones, resume is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import EIGHT, VIT, initial, shades, splits

from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.freezing.plan.plan import make_plan
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.tasks import LossOptions, task_of
from ftjax.training.feature_cache.policy import refusal
from ftjax.training.loop.fit import fit
from ftjax.training.loop.validation import BestSoFar
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec

AUGMENT = 'brightness:0.3,mixup:1'


def spec_of(steps=4, augment=AUGMENT):
    variables = initial(VIT)
    return RunSpec(
        VIT,
        variables,
        make_plan('full', VIT, variables),
        splits(shades, 24, 6, 6),
        optimizer=OptimizerSettings(name='sgd', learning_rate=0.1),
        settings=TrainSettings(steps=steps, keep='last', eval_every=0.5),
        preprocessing=EIGHT,
        batch_size=6,
        augmentation=augment,
    )


def test_the_loss_of_a_mixed_batch_counts_both_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 3)).astype(np.float32)
    labels, partner = np.array([0, 1, 2, 1], np.int32), np.array([2, 0, 3, 1], np.int32)
    share = np.array([0.9, 0.5, 0.2, 1.0], np.float32)
    batch = {'labels': labels, 'mask': np.ones(4, np.float32), 'partner': partner, 'share': share}
    logs = np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    soft = share[:, None] * np.eye(3)[labels] + (1 - share[:, None]) * np.eye(3)[labels[partner]]
    total, weight = task_of('classification').loss(jnp.asarray(logits), batch)
    assert float(total) == pytest.approx(-(soft * logs).sum(), rel=1e-5) and float(weight) == 4
    each = np.array([1.0, 3.0, 9.0])
    options = LossOptions(class_weights=tuple(each))
    total, weight = task_of('classification').loss(jnp.asarray(logits), batch, options)
    assert float(total) == pytest.approx(-(soft * each * logs).sum(), rel=1e-5)
    assert float(weight) == pytest.approx((soft * each).sum(), rel=1e-5)


def test_an_interrupted_run_mixes_the_same_pairs(tmp_path, monkeypatch):
    whole = fit(spec_of(), progress=False)
    plain = fit(spec_of(augment='none'), progress=False)
    update = BestSoFar.update

    def interrupted(self, step, values):
        if step == 4:
            raise KeyboardInterrupt
        return update(self, step, values)

    with monkeypatch.context() as patch:
        patch.setattr(BestSoFar, 'update', interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(spec_of(), tmp_path, progress=False)
    assert any((tmp_path / 'checkpoints').iterdir())
    rest = fit(spec_of(), tmp_path, progress=False)
    for a, b in zip(jax.tree.leaves(whole.variables), jax.tree.leaves(rest.variables), strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.history[0]['train_loss'] != plain.history[0]['train_loss']
    # The validation of the last weights is that of images as they are.
    spec = spec_of()
    pairs = predict(VIT, whole.variables, spec.validation, EIGHT)
    want = spec.task.validate(pairs)
    assert whole.history[-1]['val_loss'] == pytest.approx(want['loss'], rel=1e-5)


def test_what_mixing_cannot_go_with_is_refused():
    variables = initial(VIT)
    plan = make_plan('last:1', VIT, variables)
    assert 'mixes other examples at every step' in refusal(plan, plan.at(0), 'mixup', views=4)
    values = {
        'data': {'augment': 'cutmix', 'batch_size': 8},
        'optimizer': {'accumulate': 2},
        'train': {'class_weights': 'balanced'},
    }
    with pytest.raises(UserError, match='do not go with optimizer'):
        read_config(values)
    assert read_config({**values, 'train': {}}).data.augment == 'cutmix'
