"""What tests of all tasks share: random outputs and labels of each task, in padded batches."""

import numpy as np

from ftjax.tasks import task_of


def answers(name, n=23, seed=0):
    """Outputs and labels of some examples of a task."""
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(n, 7)).astype(np.float32)
    if name == 'classification':
        return outputs, rng.integers(0, 7, n).astype(np.int32)
    if name == 'multilabel':
        return outputs, (rng.random((n, 7)) < 0.4).astype(np.float32)
    if name == 'regression':
        return outputs[:, :1], rng.normal(size=n).astype(np.float32)
    if name == 'embedding':  # triplets, every text another one
        numbers = np.concatenate([np.arange(3 * n).reshape(n, 3), np.full((n, 1), -1)], axis=1)
        return rng.normal(size=(n, 3, 7)).astype(np.float32), numbers.astype(np.int32)
    if name == 'multiple_choice':
        right = rng.integers(0, 4, n)  # of five choices the last ones are not always there
        labels = np.stack([right, np.maximum(right + 1, rng.integers(2, 6, n))], axis=1)
        return outputs[:, :5, None], labels.astype(np.int32)
    if name == 'text_ranking':
        return outputs[..., None], rng.integers(0, 3, (n, 7)).astype(np.float32)
    if name == 'text_similarity':
        return rng.normal(size=(n, 2, 7)).astype(np.float32), rng.random(n).astype(np.float32)
    if name == 'masked_features':
        hidden = np.where(rng.random((n, 7)) < 0.5, rng.normal(size=(n, 7)), -1)
        hidden[:, 0] = 0.5
        return outputs, hidden.astype(np.float32)
    if name == 'segmentation':
        masks = rng.choice(np.array([*range(7), 255], np.uint8), (n, 5, 6))
        return rng.normal(size=(n, 3, 2, 7)).astype(np.float32), masks
    labels = np.where(rng.random((n, 9)) < 0.5, rng.integers(0, 7, (n, 9)), -1).astype(np.int32)
    labels[:, 0] = 3
    if name == 'causal_lm':
        scores = np.abs(rng.normal(size=(n, 9, 3)))
        scores[..., 2] = rng.random((n, 9)) < 0.4
        bytes_ = rng.integers(0, 5, (n, 9))
        return scores.astype(np.float32), np.stack([labels, bytes_], -1).astype(np.int32)
    return rng.normal(size=(n, 9, 7)).astype(np.float32), labels


def batches(name, size, n=23):
    """The same examples in padded batches, in an order of their own."""
    outputs, labels = answers(name, n)
    order = np.random.default_rng(1).permutation(n)
    for start in range(0, n, size):
        rows = np.resize(order[start : start + size], size)
        mask = (np.arange(size) < n - start).astype(np.float32)
        kind = task_of(name).labels
        if kind.from_inputs or kind.head == 'tags':
            mask = mask[:, None] * kind.asked(labels[rows])
        yield outputs[rows], {'labels': labels[rows], 'mask': mask, 'index': rows}
