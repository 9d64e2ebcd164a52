"""The contract of a task: what adds up, what is resampled, and a task of one's own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_answers import answers, batches

from ftjax import registry
from ftjax.data import Dataset
from ftjax.errors import UserError
from ftjax.evaluation.intervals import bootstrap_interval
from ftjax.registry import PARTS
from ftjax.tasks import LossOptions, Task, task, task_of, tasks
from ftjax.tasks.classification import Classification
from ftjax.tasks.metrics import check_metric
from ftjax.tasks.metrics_text import metrics_text
from ftjax.tasks.registry import loss_of
from ftjax.tasks.registry import metric as own_metric
from ftjax.tasks.statistics import joined

RNG = np.random.default_rng(0)


@pytest.mark.parametrize('name', list(tasks()))
def test_metrics_do_not_depend_on_the_batches(name):
    one, many = (task_of(name).measure(batches(name, size)) for size in (23, 4))
    assert one.keys() == many.keys()
    for key, value in one.items():
        if isinstance(value, (int, float)):
            assert many[key] == pytest.approx(value, rel=1e-12), key
    assert str(one['n']) in metrics_text(one)


@pytest.mark.parametrize('name', list(tasks()))
def test_a_validation_gives_every_metric_of_the_task_in_its_direction(name):
    found = task_of(name).measure(batches(name, 4))
    outputs = answers(name)[0].shape[-1]
    for metric in task_of(name).metrics:
        if task_of(name).obstacle(metric.name, outputs):
            assert found[metric.name] is None
            continue
        got = task_of(name).validate(batches(name, 4), metric.name)
        assert got['score'] == metric.sign * got[metric.name]
        assert got[metric.name] == pytest.approx(found[metric.name], rel=1e-5)
        assert metric.name in (*metric.names, 'loss') and np.isfinite(got['loss'])


def test_a_loss_is_a_sum_and_a_weight():
    for name in tasks():
        outputs, batch = next(batches(name, 32))
        total, weight = task_of(name).loss(outputs, batch)
        counted = batch['mask']
        if name == 'segmentation':
            counted = counted[:, None, None] * (batch['labels'] != 255)
        assert weight == counted.sum()
        noise = np.where(batch['mask'] > 0, 0, 50.0)  # padding counts for nothing
        noise = noise.reshape(noise.shape + (1,) * (outputs.ndim - noise.ndim))
        assert task_of(name).loss(outputs + noise, batch)[0] == pytest.approx(float(total))


def texts_alike(texts, tokens, spread, rng):
    """Masked tokens, of which all of a text are guessed with one loss; and its mean and spread."""
    nats = np.abs(rng.normal(2, spread, texts))
    logits = np.zeros((texts, tokens, 2), np.float32)
    logits[..., 1] = np.log(np.expm1(nats))[:, None]  # the loss of class 0 is log(1 + e^z)
    labels = np.zeros((texts, tokens), np.int32)
    return (logits, {'labels': labels, 'mask': np.ones((texts, tokens))}), nats


def test_intervals_of_masked_tokens_are_those_of_texts():
    # All tokens of a text are equal: 400 texts of 20 tokens tell as much as 400 numbers, and an
    # interval over 8,000 tokens would be sqrt(20) = 4.5 times too narrow.
    pair, nats = texts_alike(400, 20, 0.4, np.random.default_rng(3))
    found = task_of('masked_tokens').measure([pair])
    low, high = found['loss_interval']
    assert high - low == pytest.approx(2 * 1.96 * nats.std() / np.sqrt(400), rel=0.08)
    assert (found['n'], found['texts']) == (8000, 400)
    # Of one token a text the accuracy is a share of independent answers, as Wilson has it.
    outputs = np.zeros((400, 1, 2))
    outputs[:300, :, 0] = 1
    outputs[300:, :, 1] = 1
    batch = {'labels': np.zeros((400, 1), int), 'mask': np.ones((400, 1))}
    low, high = task_of('masked_tokens').measure([(outputs, batch)])['accuracy_interval']
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.75 * 0.25 / 400), rel=0.08)


def test_intervals_over_texts_cover_as_often_as_they_say():
    rng, hits, narrow = np.random.default_rng(4), 0, 0
    for _ in range(150):
        length = rng.integers(1, 15, 60)  # of texts: long and short ones
        sums = np.stack([length * rng.normal(2, 0.5, 60), length], axis=1)
        low, high = bootstrap_interval(sums, lambda s: s[:, 0].sum() / s[:, 1].sum(), resamples=200)
        hits += low <= 2 <= high
        tokens = np.repeat(sums[:, 0] / length, length)
        low, high = bootstrap_interval(tokens, np.mean, resamples=200)
        narrow += low <= 2 <= high
    assert 0.88 < hits / 150 < 0.99
    assert narrow / 150 < 0.75


def test_what_an_example_looks_like():
    names = tuple('abcdefg')
    outputs, labels = answers('classification')
    row = task_of('classification').example(outputs[0], labels[0], names)
    assert row['label'] == names[labels[0]] and row['predicted'] == names[outputs[0].argmax()]
    assert row['confidence'] >= row['label_probability'] > 0
    outputs, labels = answers('multilabel')
    row = task_of('multilabel').example(outputs[0], labels[0], names)
    assert {*row['labels']} - {*row['predicted']} == {*row['missed']}
    row = task_of('regression').example(np.array([2.0]), 0.5, ())
    assert row == {'target': 0.5, 'predicted': 2.0, 'error': 1.5}
    outputs, labels = answers('masked_tokens')
    row = task_of('masked_tokens').example(outputs[0], labels[0], ())
    assert row['asked'] == (labels[0] >= 0).sum() >= row['right'] and row['loss'] > 0


@pytest.fixture
def own():
    @task('pairs')
    class Pairs(Classification):
        """Neighbours in a batch are two views of one thing: each is to find the other."""

        def losses(self, outputs, batch, options):
            unit = outputs / jnp.linalg.norm(outputs, axis=-1, keepdims=True)
            alike = unit @ unit.T - 1e9 * jnp.eye(len(outputs))
            alike = jnp.where(batch['mask'] > 0, alike, -1e9)  # padding is nobody's partner
            partner = jnp.arange(len(outputs)) ^ 1
            return -jax.nn.log_softmax(alike)[jnp.arange(len(outputs)), partner]

    yield task_of('pairs')
    del PARTS['task']['pairs']


def test_a_task_of_ones_own_has_labels_loss_and_metrics(own):
    data = Dataset(
        name='d', kind='text', inputs='abcd', labels=[0, 0, 1, 1], class_names='xy', task='pairs'
    )
    assert data.label_kind.one_class and data.num_outputs == 2
    good = np.float32([[1, 0], [1, 0], [0, 1], [0, 1]])
    batch = {'labels': data.labels, 'mask': np.ones(4, np.float32)}
    total, weight = own.loss(good, batch, LossOptions())
    assert weight == 4 and total < own.loss(good[[0, 2, 1, 3]], batch)[0]
    found = own.validate([(good, batch)])
    assert found['accuracy'] == found['score'] == 1 and found['loss'] == pytest.approx(total / 4)
    assert own.measure([(good, batch)], data.class_names)['task'] == 'pairs'
    assert check_metric('f1_macro', 'pairs').higher_is_better
    with pytest.raises(UserError, match=r'did you mean .*pairs'):
        Dataset(name='d', kind='text', inputs='a', labels=[0], class_names='x', task='pair')


def test_a_task_without_text_of_its_own_writes_its_metrics():
    made = {'n': 3, 'mse': 0.25, 'mse_interval': [0.1, 0.4], 'r2': None}
    text = Task.text(task_of('regression'), made)
    assert 'mse      0.25, 95 % interval 0.1 to 0.4' in text and 'r2       undefined' in text


def test_statistics_of_no_batch_are_empty():
    assert len(joined([])) == 0
    with pytest.raises(UserError, match='no examples'):
        task_of('regression').measure([])


@pytest.fixture
def spread():
    """A metric of one's own: the largest difference of an output and its label."""

    @own_metric('spread', higher_is_better=False, bounds=(0.0, None))
    def spread(outputs, labels):
        return np.abs(outputs[:, 0] - labels).max()

    yield
    del PARTS['metric']['spread']


def pairs_of(outputs, labels, size=3):
    for first in range(0, len(labels), size):
        part = slice(first, first + size)
        yield outputs[part], {'labels': labels[part], 'mask': np.ones(len(labels[part]))}


def test_a_metric_of_ones_own_is_measured_and_decides(spread):
    regression = task_of('regression')
    outputs, labels = np.float32([[1.0], [2.0], [5.0], [0.0]]), np.float32([1.0, 2.5, 3.0, 0.0])
    assert regression.measure(pairs_of(outputs, labels))['spread'] == 2.0
    found = regression.validate(pairs_of(outputs, labels), 'spread')
    assert found['spread'] == 2.0 and found['score'] == -2.0
    assert 'spread' not in regression.validate(pairs_of(outputs, labels))
    assert check_metric('spread', 'regression').higher_is_better is False
    with pytest.raises(UserError, match='none of a task of masked_tokens'):
        check_metric('spread', 'masked_tokens')


def test_a_metric_that_is_no_number_and_a_loss_of_another_shape_are_one_line(spread):
    PARTS['metric']['spread'] = dataclasses.replace(
        PARTS['metric']['spread'], target=lambda outputs, labels: 'much'
    )
    outputs, labels = np.float32([[1.0], [2.0]]), np.float32([1.0, 2.5])
    with pytest.raises(UserError, match=r"metric 'spread' of .* gave 'much', no number"):
        task_of('regression').validate(pairs_of(outputs, labels), 'spread')
    assert task_of('regression').measure(pairs_of(outputs, labels))['spread'] is None
    own = registry.Part('loss', 'flat', lambda outputs, batch: outputs.mean(), {})
    options = LossOptions(loss=registry.Term(own, {}))
    with pytest.raises(UserError, match=r'train.loss flat gives shape \(\); expected .* \(2,\)'):
        task_of('regression').loss(outputs, next(pairs_of(outputs, labels))[1], options)


def test_losses_by_name_have_their_published_forms():
    logits, labels = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    batch = {'labels': labels, 'mask': np.ones(5, np.float32)}
    plain = task_of('classification').loss(logits, batch)
    same = LossOptions(loss=loss_of('focal:0', 'classification'))
    assert float(task_of('classification').loss(logits, batch, same)[0]) == pytest.approx(
        float(plain[0]), 1e-6
    )
    right = jax.nn.softmax(logits)[np.arange(5), labels]
    wanted = (-((1 - right) ** 2) * np.log(right)).sum()
    focal = LossOptions(loss=loss_of('focal', 'classification'))
    assert task_of('classification').loss(logits, batch, focal)[0] == pytest.approx(
        float(wanted), 1e-5
    )
    values = {'labels': np.float32([0.0, 3.0]), 'mask': np.ones(2, np.float32)}
    for text, total in (('huber', 0.125 + 1.5), ('huber:2', 0.125 + 2.0), ('absolute_error', 2.5)):
        options = LossOptions(loss=loss_of(text, 'regression'))
        found = task_of('regression').loss(np.float32([[0.5], [1.0]]), values, options)
        assert float(found[0]) == pytest.approx(total), text
    with pytest.raises(UserError, match=r'focal.* is for classification, not for regression'):
        loss_of('focal', 'regression')
    with pytest.raises(UserError, match="unknown loss 'focl'; did you mean 'focal'"):
        loss_of('focl', 'classification')
