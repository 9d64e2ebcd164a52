"""Class weights, losses for rare classes, samplers and thresholds in whole runs."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import EIGHT, VIT, initial, shades

from ftjax.api import Finetuning
from ftjax.config import read_config, template
from ftjax.data import Splits
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.tasks import LossOptions, task_of
from ftjax.tasks.classes.class_weights import class_weights
from ftjax.tasks.registry import loss_of
from ftjax.training.loop.fit import fit
from ftjax.training.settings import TrainSettings
from ftjax.training.step.loss_options import loss_options
from ftjax.training.step.run_spec import RunSpec

TASK = task_of('classification')


def batch_of(seed=0, n=12, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n).astype(np.int32)
    return rng.normal(size=(n, classes)).astype(np.float32), {
        'labels': labels,
        'mask': np.r_[np.ones(n - 2), 0, 0].astype(np.float32),
    }


def gradient(options, logits, batch):
    def mean(outputs):
        total, weight = TASK.loss(outputs, batch, options)
        return total / weight

    return np.asarray(jax.grad(mean)(jnp.asarray(logits)))


def probabilities(logits):
    exps = np.exp(logits.astype(np.float64))
    return exps / exps.sum(axis=1, keepdims=True)


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_the_gradient_of_weighted_cross_entropy_is_the_closed_form(smoothing):
    logits, batch = batch_of()
    weights = (0.5, 2.0, 7.0)
    got = gradient(LossOptions(label_smoothing=smoothing, class_weights=weights), logits, batch)
    each = np.array(weights)[batch['labels']] * batch['mask']
    target = (1 - smoothing) * np.eye(3)[batch['labels']] + smoothing / 3
    want = each[:, None] * (probabilities(logits) - target) / each.sum()
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_the_gradient_of_focal_loss_is_the_closed_form():
    logits, batch = batch_of(1)
    p, hot = probabilities(logits), np.eye(3)[batch['labels']]
    right = (p * hot).sum(1)
    # d/dz of -(1 - p)^g log p, by dp/dz = p (hot - p).
    g = 2.0
    slope = g * (1 - right) ** (g - 1) * right * np.log(right) - (1 - right) ** g
    want = batch['mask'][:, None] * slope[:, None] * (hot - p) / batch['mask'].sum()
    got = gradient(LossOptions(loss=loss_of('focal:2', 'classification')), logits, batch)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_the_gradient_of_the_logit_adjusted_loss_is_the_closed_form():
    logits, batch = batch_of(2)
    settings = TrainSettings(loss='logit_adjusted:0.5')
    train_split = shades('train', 10).take([0, 1, 2, 3, 6, 9])  # 4, 1 and 1 of the classes
    options = loss_options(settings, TASK, train_split)
    assert options.class_counts == (4, 1, 1)
    shifted = logits + 0.5 * np.log(np.array([4, 1, 1]) / 6)
    error = probabilities(shifted) - np.eye(3)[batch['labels']]
    want = batch['mask'][:, None] * error / batch['mask'].sum()
    np.testing.assert_allclose(gradient(options, logits, batch), want, atol=1e-6)


def test_weights_equal_those_of_scikit_learn_and_of_the_paper():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat(np.arange(3), (50, 9, 1))
    counts, names = [50, 9, 1], ['a', 'b', 'c']
    want = compute_class_weight('balanced', classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights('balanced', counts, names), want)
    each = np.array([(1 - 0.99) / (1 - 0.99**n) for n in counts])
    want = each / each.sum() * 3
    np.testing.assert_allclose(class_weights('effective:0.99', counts, names), want)
    flat = class_weights('effective:0', counts, names)
    np.testing.assert_allclose(flat, 1.0)
    assert class_weights({'c': 5.0}, counts, names) == (1.0, 1.0, 5.0)


def spec_of(parts=1, **train_settings):
    train = shades('train', 24).take([*range(0, 24, 3), 1, 4, 2, *range(12, 17)])
    data = Splits(train=train, val=shades('val', 6), test=shades('test', 6))
    variables = initial(VIT)
    return RunSpec(
        VIT,
        variables,
        make_plan('full', VIT, variables),
        data,
        optimizer=OptimizerSettings(name='sgd', learning_rate=0.5, accumulate=parts),
        settings=TrainSettings(steps=2, keep='last', **train_settings),
        preprocessing=EIGHT,
        batch_size=16,
    )


def test_an_accumulated_batch_weighs_as_the_whole_one():
    weights = {'b': 5.0, 'c': 20.0}
    whole, parts = (fit(spec_of(n, class_weights=weights), progress=False) for n in (1, 4))
    plain = fit(spec_of(1), progress=False)
    for one, other in zip(
        jax.tree.leaves(whole.variables), jax.tree.leaves(parts.variables), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=2e-5)
    assert whole.history[0]['train_loss'] == pytest.approx(parts.history[0]['train_loss'], rel=1e-5)
    assert whole.history[0]['train_loss'] != pytest.approx(plain.history[0]['train_loss'], rel=1e-3)


@pytest.mark.slow
def test_the_first_loss_of_a_run_is_the_weighted_mean_of_its_batch():
    spec = dataclasses.replace(spec_of(4, class_weights='balanced'), batch_size=16)
    spec = dataclasses.replace(spec, settings=dataclasses.replace(spec.settings, steps=1))
    batch = spec.stream.batch(0)
    images = (batch['inputs'].astype(np.float32) / 255 - 0.5) / 0.5
    p = probabilities(np.asarray(VIT.apply(spec.variables, images)))
    counts = np.bincount(spec.splits.train.labels)
    each = (counts.sum() / (3 * counts))[batch['labels']]
    want = (each * -np.log(p[np.arange(16), batch['labels']])).sum() / each.sum()
    got = fit(spec, progress=False).history[0]['train_loss']
    assert got == pytest.approx(want, rel=1e-4)


def test_wrong_weights_are_refused_before_a_run():
    for given, message in (
        ({'b': -1}, r"of class 'b' is -1; expected a number, above 0"),
        ('balancd', "did you mean 'balanced'"),
        (3, 'expected a text or a mapping'),
        ('{3', 'a mapping such as'),
    ):
        with pytest.raises(UserError, match=message):
            TrainSettings(class_weights=given)
    with pytest.raises(UserError, match=r"unknown class in train\.class_weights: 'bee'"):
        spec_of(class_weights={'bee': 2.0}).train_step(spec_of().plan.at(0))
    with pytest.raises(UserError, match=r'needs one class an example; data\.task is regression'):
        loss_options(TrainSettings(class_weights='balanced'), task_of('regression'), None)


def rare_config(**changes):
    """Digits 3 against 8, the second one rare."""
    values = {
        'init': '',
        'model': {'name': 'resnet_bn_cifar', 'depth': 8, 'width': 2, 'image_size': 8},
        'data': {'source': 'digits', 'batch_size': 16, 'sampler': 'balanced'},
        'train': {'steps': 4, 'threshold': 'f1', 'class_weights': 'balanced'},
    }
    for key, value in changes.items():
        values[key] = {**values[key], **value}
    return read_config(values)


@pytest.fixture(scope='module')
def two_classes():
    from ftjax.data import load_data

    def rare(split, limit):
        wanted = np.flatnonzero(np.isin(split.labels, (3, 8)))
        eights = [i for i in wanted if split.labels[i] == 8][:limit]
        kept = np.sort([*[i for i in wanted if split.labels[i] == 3], *eights])
        picked = split.take(kept)
        labels = (picked.labels == 8).astype(np.int32)
        return dataclasses.replace(
            picked, task='classification', labels=np.zeros_like(labels), class_names=('x',)
        ), labels

    whole = load_data(rare_config().data)
    made = []
    for split, limit in ((whole.train, 8), (whole.val, 8), (whole.test, 8)):
        blank, labels = rare(split, limit)
        made.append(dataclasses.replace(blank, labels=labels, class_names=('three', 'eight')))
    return Splits(train=made[0], val=made[1], test=made[2])


def test_smoothing_is_refused_where_the_loss_makes_no_use_of_it():
    settings = TrainSettings(label_smoothing=0.1)
    for name in ('regression', 'embedding', 'text_similarity', 'text_ranking', 'masked_features'):
        with pytest.raises(UserError, match='has no classes to spread it over'):
            loss_options(settings, task_of(name), None)
    assert loss_options(settings, task_of('token_classification'), None).label_smoothing == 0.1


def test_a_threshold_is_chosen_on_validation_and_kept_with_the_model(two_classes, tmp_path):
    prepared = prepare(rare_config(), two_classes)
    fitted, result = train(prepared, tmp_path / 'run', progress=False)
    at = result['metrics']['threshold']
    again = split_metrics(prepared, fitted.variables, 'val')
    assert again['threshold'] == at
    saved = json.loads((tmp_path / 'run' / 'model' / 'config.json').read_text())
    assert saved['decision_threshold'] == at
    assert load_pretrained(str(tmp_path / 'run')).threshold == at
    network = Finetuning(prepared.config, two_classes)
    network.variables = fitted.variables
    network.save(tmp_path / 'saved')
    assert load_pretrained(str(tmp_path / 'saved')).threshold == network.trained.threshold == at
    other = load_pretrained(str(tmp_path / 'run'), class_names=('cat', 'dog'))
    assert other.threshold is None  # a new head decides otherwise


def test_a_threshold_without_examples_to_choose_by_is_refused(two_classes):
    threes = two_classes.val.take(np.flatnonzero(two_classes.val.labels == 0))
    lacking = dataclasses.replace(two_classes, val=threes)
    with pytest.raises(UserError, match="has none of class 'eight'"):
        prepare(rare_config(), lacking)
    fixed = prepare(rare_config(train={'steps': 1, 'threshold': '0.2'}), lacking)
    assert fixed.config.train.threshold == '0.2'
    with pytest.raises(UserError, match='needs a task of two classes'):
        prepare(rare_config())


def test_configs_take_a_text_or_a_mapping_and_give_it_back():
    config = template(
        data={'missing': {'age': 'drop'}}, train={'class_weights': {'bee': 3.0}, 'steps': 2}
    )
    found = read_config(config)
    assert found.data.missing == {'age': 'drop'} and found.train.class_weights == {'bee': 3.0}
    assert read_config(json.loads(json.dumps(found.to_json()))) == found
    assert hash(found.data) == hash(read_config(config).data)
    config.train.class_weights, config.data.missing = 'balanced', 'median'
    found = read_config(config)
    assert (found.train.class_weights, found.data.missing) == ('balanced', 'median')
    assert read_config({'train': {'class_weights': "{'bee': 2}"}}).train.class_weights == {
        'bee': 2.0
    }
