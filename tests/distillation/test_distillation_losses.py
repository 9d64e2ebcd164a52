"""Losses that learn from a teacher: values and gradients beside closed forms and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.tasks import LossOptions, task_of
from ftjax.tasks.registry import columns_of, loss_of


def batch_of(task, seed=0, n=7, classes=5):
    """(outputs, batch) with two padded examples; logits as large as trained networks give."""
    rng = np.random.default_rng(seed)
    logits, teacher = rng.normal(0, 4, (2, n, classes)).astype(np.float32)
    labels = rng.integers(0, classes, n).astype(np.int32)
    if task == 'multilabel':
        labels = rng.integers(0, 2, (n, classes)).astype(np.float32)
    mask = np.r_[np.ones(n - 2), 0, 0].astype(np.float32)
    return logits, {'labels': labels, 'mask': mask, 'columns': {'teacher_logits': teacher}}


def found(text, task, logits, batch):
    """The mean loss, and its gradient by the outputs."""
    options = LossOptions(loss=loss_of(text, task))

    def mean(outputs):
        total, weight = task_of(task).loss(outputs, batch, options)
        return total / weight

    value, slope = jax.value_and_grad(mean)(jnp.asarray(logits))
    return float(value), np.asarray(slope)


def softmax(logits):
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exps / exps.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(('alpha', 'temperature'), [(0.9, 4.0), (0.3, 1.5), (1, 2), (0, 3)])
def test_classes_value_and_gradient_are_the_closed_form(alpha, temperature):
    logits, batch = batch_of('classification')
    value, slope = found(f'distillation:x,{alpha},{temperature}', 'classification', logits, batch)
    z, v = logits.astype(np.float64), batch['columns']['teacher_logits'].astype(np.float64)
    p, q = softmax(v / temperature), softmax(z / temperature)
    hot = np.eye(5)[batch['labels']]
    kl = (p * np.log(p / q)).sum(1)
    each = alpha * temperature**2 * kl - (1 - alpha) * np.log((softmax(z) * hot).sum(1))
    mask = batch['mask']
    assert value == pytest.approx((each * mask).sum() / mask.sum(), rel=1e-5)
    # Equation 2 of the source, times T^2.
    want = alpha * temperature * (q - p) + (1 - alpha) * (softmax(z) - hot)
    np.testing.assert_allclose(slope, want * mask[:, None] / mask.sum(), atol=1e-5)


def test_labels_value_and_gradient_are_the_closed_form():
    logits, batch = batch_of('multilabel', 1)
    text = 'multilabel_distillation:x,alpha=0.7,temperature=3'
    value, slope = found(text, 'multilabel', logits, batch)
    z, v = logits.astype(np.float64), batch['columns']['teacher_logits'].astype(np.float64)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    p, q, y = sigmoid(v / 3), sigmoid(z / 3), batch['labels']
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    label = -y * np.log(sigmoid(z)) - (1 - y) * np.log(1 - sigmoid(z))
    mask = batch['mask']
    each = (0.7 * 9 * kl + 0.3 * label).mean(1)
    assert value == pytest.approx((each * mask).sum() / mask.sum(), rel=1e-5)
    want = (0.7 * 3 * (q - p) + 0.3 * (sigmoid(z) - y)) / 5
    np.testing.assert_allclose(slope, want * mask[:, None] / mask.sum(), atol=1e-5)


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn_from_it():
    logits, batch = batch_of('classification', 2)
    batch['columns']['teacher_logits'] = logits + 3  # a softmax does not see a shift
    value, slope = found('distillation:x,1,2', 'classification', logits, batch)
    assert value == pytest.approx(0, abs=1e-5) and np.abs(slope).max() < 1e-6


def test_the_loss_is_for_its_tasks_and_says_which_columns_it_needs():
    for task in ('classification', 'multilabel'):
        name = {'classification': 'distillation', 'multilabel': 'multilabel_distillation'}[task]
        assert columns_of(loss_of(f'{name}:x', task)) == ('teacher_logits',)
        with pytest.raises(UserError, match=f"train.loss '{name}:x' is for {task}, not for"):
            loss_of(f'{name}:x', 'causal_lm')
    for text, words in (
        ('distillation:x,2', 'alpha is 2; expected a number, at least 0 and at most 1'),
        (
            'distillation:x,0.5,0',
            'temperature is 0; expected a number, at least 0.01 and at most 1000',
        ),
        ('distillation:x,nan', 'alpha must be a number'),
        ('distillation:x,alfa=1', "argument of distillation: 'alfa'; did you mean 'alpha'"),
    ):
        with pytest.raises(UserError) as error:
            loss_of(text, 'classification')
        assert words in str(error.value)
    assert columns_of(loss_of('focal:2', 'classification')) == () == columns_of(None)


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_torch_has_the_same_loss_and_gradient(temperature):
    import torch

    logits, batch = batch_of('classification', 3)
    text = f'distillation:x,0.6,{temperature}'
    value, slope = found(text, 'classification', logits, batch)
    real = batch['mask'] > 0
    outputs = torch.tensor(logits[real], requires_grad=True)
    teacher = torch.tensor(batch['columns']['teacher_logits'][real])
    kl = torch.nn.KLDivLoss(reduction='batchmean')(
        torch.log_softmax(outputs / temperature, 1), torch.softmax(teacher / temperature, 1)
    )
    labels = torch.tensor(batch['labels'][real], dtype=torch.long)
    loss = 0.6 * temperature**2 * kl + 0.4 * torch.nn.functional.cross_entropy(outputs, labels)
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(slope[real], outputs.grad.numpy(), atol=1e-5)
    assert not slope[~real].any()


def test_a_language_model_is_told_how_else_to_learn():
    with pytest.raises(
        UserError, match=r'not for causal_lm: of each token .* let it write answers'
    ):
        loss_of('distillation:teacher=FOLDER', 'causal_lm')
    with pytest.raises(UserError, match=r'is for classification, not for regression$'):
        loss_of('distillation:teacher=FOLDER', 'regression')
