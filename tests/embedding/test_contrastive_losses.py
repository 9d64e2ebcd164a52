"""Losses of vectors: by hand, as PyTorch computes them, and what does not count."""

import jax
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.tasks import task_of
from ftjax.tasks.retrieval.contrastive_losses import (
    cosine_regression,
    multiple_negatives,
    supervised_contrastive,
)

RNG = np.random.default_rng(0)


def batch_of(numbers, real=None):
    numbers = np.asarray(numbers, np.int32)
    mask = np.ones(len(numbers), np.float32) if real is None else np.asarray(real, np.float32)
    return {'labels': numbers, 'mask': mask}


def pairs(count, texts=2, dim=6):
    vectors = RNG.normal(size=(count, texts, dim)).astype(np.float32)
    numbers = np.arange(count * texts).reshape(count, texts)
    return vectors, batch_of(np.concatenate([numbers, np.full((count, 1), -1)], axis=1))


def test_copies_of_the_anchor_are_no_wrong_answers():
    """Pairs in both directions: all that is left beside its own positive is the third row's."""
    vectors, _ = pairs(3)
    vectors[1] = vectors[0, ::-1]
    batch = batch_of([[0, 1, -1], [1, 0, -1], [4, 5, -1]])
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    scores = 20 * unit[:, 0] @ unit[:, 1].T
    want = np.logaddexp(scores[0, 0], scores[0, 2]) - scores[0, 0]
    assert float(multiple_negatives(vectors, batch)[0]) == pytest.approx(want, rel=1e-4)


def test_a_loss_of_other_examples_is_refused():
    vectors, batch = pairs(3)
    with pytest.raises(UserError, match='expected multiple_negatives'):
        supervised_contrastive(vectors, batch)
    with pytest.raises(UserError, match='expected supervised_contrastive'):
        multiple_negatives(vectors[:, 0], batch)


def test_three_texts_by_hand():
    # Anchor along x; its positive at 0, the others' at 90 and 180 degrees.
    turned = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    vectors = np.stack([np.tile([[1.0, 0.0]], (3, 1)), turned], axis=1).astype(np.float32)
    numbers = batch_of([[0, 10, -1], [1, 11, -1], [2, 12, -1]])
    got = multiple_negatives(vectors, numbers, scale=2.0)
    scores = 2.0 * np.array([1, 0, -1])
    total = np.log(np.exp(scores).sum())
    np.testing.assert_allclose(got, total - scores, rtol=1e-6)
    # A copy of the first positive is no wrong answer to the first anchor, nor the other way.
    copied = batch_of([[0, 10, -1], [1, 10, -1], [2, 12, -1]])
    got = multiple_negatives(vectors, copied, scale=2.0)
    left = np.log(np.exp(2.0) + np.exp(-2.0)) - 2.0
    np.testing.assert_allclose(got[0], left, rtol=1e-5)
    # The same anchor twice: both positives are right.
    twice = batch_of([[0, 10, -1], [0, 11, -1], [2, 12, -1]])
    np.testing.assert_allclose(multiple_negatives(vectors, twice, scale=2.0)[0], left, rtol=1e-5)


def test_padding_is_no_wrong_answer_and_has_no_part():
    vectors, batch = pairs(4)
    whole = multiple_negatives(vectors[:3], {k: v[:3] for k, v in batch.items()})
    batch['mask'][3] = 0
    got = multiple_negatives(vectors, batch)
    np.testing.assert_allclose(got[:3], whole, rtol=1e-6)
    assert np.isfinite(got).all()
    task = task_of('embedding')
    grads = jax.grad(lambda v: task.loss(v, batch)[0])(vectors)
    assert np.isfinite(grads).all() and not np.asarray(grads)[3].any()


def test_hard_negatives_are_candidates_of_every_anchor():
    vectors, batch = pairs(3, texts=3)
    got = multiple_negatives(vectors, batch)
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    candidates = np.concatenate([unit[:, 1], unit[:, 2]])
    scores = 20 * unit[:, 0] @ candidates.T
    want = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(3), np.arange(3)]
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_texts_of_classes_by_hand():
    vectors = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    got = supervised_contrastive(vectors, batch_of([[0, 0], [1, 0], [2, 1]]), temperature=1.0)
    # The first two are of a class; each has one positive among two others.
    want = np.log(np.exp(0) + np.exp(0)) - 0, np.log(np.exp(0) + np.exp(1)) - 0, 0.0
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_cosine_is_regressed():
    vectors = np.array([[[2, 0], [3, 3]]], np.float32)
    got = cosine_regression(vectors, {'labels': np.array([1.0])})
    np.testing.assert_allclose(got, [(np.sqrt(0.5) - 1) ** 2], rtol=1e-6)


@pytest.mark.torch
def test_losses_and_gradients_are_those_of_torch():
    """Cross-entropy over a batch's cosines, and SupCon, written out in torch."""
    import torch
    from torch.nn import functional

    vectors, batch = pairs(5)
    theirs = torch.tensor(vectors, requires_grad=True)
    unit = functional.normalize(theirs, dim=-1)
    scores = unit[:, 0] @ unit[:, 1].T * 20.0
    functional.cross_entropy(scores, torch.arange(5)).backward()
    task = task_of('embedding')

    def mean(v):
        total, weight = task.loss(v, batch)
        return total / weight

    np.testing.assert_allclose(jax.grad(mean)(vectors), theirs.grad.numpy(), atol=1e-5)
    single = RNG.normal(size=(6, 4)).astype(np.float32)
    classes = np.array([0, 0, 1, 1, 1, 2])
    batch = batch_of(np.stack([np.arange(6), classes], axis=1))
    theirs = torch.tensor(single, requires_grad=True)
    unit = functional.normalize(theirs, dim=-1)
    logits = (unit @ unit.T / 0.07).masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf)
    logs = torch.log_softmax(logits, dim=1).masked_fill(torch.eye(6, dtype=torch.bool), 0)
    same = torch.tensor((classes[:, None] == classes) & ~np.eye(6, dtype=bool)).float()
    (-(same * logs).sum(1) / same.sum(1).clamp(min=1)).mean().backward()
    np.testing.assert_allclose(jax.grad(mean)(single), theirs.grad.numpy(), atol=1e-5)
