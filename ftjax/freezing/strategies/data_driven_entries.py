"""Elementwise masks: which single entries of the trunk train; the head trains whole.

Entries that are not chosen stay bitwise, weight decay, momentum and averages included; the
optimizer still holds moments for whole leaves.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.data_driven_choice import Choice
from ftjax.freezing.registry import strategy
from ftjax.freezing.run_length import RunLength
from ftjax.ranges import above, at_least, between


def at_first(run_length: RunLength, **_: object) -> tuple[int, ...]:
    """Before the first step."""
    del run_length
    return (0,)


@strategy(
    'fisher_mask',
    'data_driven',
    share=0.002,
    examples=128,
    source='FISH mask, arXiv:2111.09839; T-Few, arXiv:2205.05638, and its code',
    options={'when': at_first},
    ranges={'share': between(0, 1, ends='high'), 'examples': at_least(1)},
)
def fisher_mask(net: Anatomy, probe, earlier, step: int, share: float, examples: int):
    """Entries with the highest mean squared gradient of single examples, and the head."""
    del earlier
    sums: dict[str, np.ndarray] = {}
    for gradients in probe.example_gradients(examples):
        for path, gradient in gradients.items():
            squares = (np.asarray(gradient, np.float64) ** 2).sum(0)
            sums[path] = sums.get(path, 0.0) + squares
    return highest(net, step, sums, share)


@strategy(
    'child_tuning_d',
    'data_driven',
    share=0.3,
    batches=8,
    source='Child-Tuning, arXiv:2109.05687, and its code',
    options={'when': at_first},
    ranges={'share': between(0, 1, ends='high'), 'batches': at_least(1)},
)
def child_tuning_d(net: Anatomy, probe, earlier, step: int, share: float, batches: int):
    """Entries with the highest mean squared gradient of batches, and the head.

    The released optimizer still decays the entries that are masked; this one does not.
    """
    del earlier
    sums: dict[str, np.ndarray] = {}
    for gradients in probe.gradients(batches):
        for path, gradient in gradients.items():
            sums[path] = sums.get(path, 0.0) + np.asarray(gradient, np.float64) ** 2
    return highest(net, step, sums, share)


@strategy(
    'random_mask',
    'data_driven',
    share=0.005,
    source='the control of BitFit, arXiv:2106.10199; SHiRA (random), arXiv:2406.13175',
    options={'when': at_first},
    ranges={'share': between(0, 1, ends='high')},
)
def random_mask(net: Anatomy, probe, earlier, step: int, share: float):
    """Entries drawn at random, and the head: the control that chosen entries must beat."""
    del earlier
    draw = np.random.default_rng((probe.seed, 7))
    return highest(net, step, {p: draw.random(net.shapes[p]) for p in probe.params}, share)


@strategy(
    'gps',
    'data_driven',
    k=1,
    epochs=1.0,
    temperature=0.07,
    source='GPS, arXiv:2312.10136, and its code',
    options={'when': at_first},
    ranges={'k': at_least(1), 'epochs': above(0), 'temperature': above(0)},
)
def gps(net: Anatomy, probe, earlier, step: int, k: int, epochs: float, temperature: float):
    """Of every output neuron the k input weights with the highest gradient; biases and the head.

    Gradients of a supervised contrastive loss on what the head is given are summed over `epochs`
    of training data: a new head, still random, has no say. Of a convolution the inputs are
    channels and places. Norms, tables (words, positions) and class tokens stay as they are.
    """
    del earlier
    sums: dict[str, np.ndarray] = {}
    for gradients in probe.contrastive_gradients(epochs, temperature):
        for path, gradient in gradients.items():
            sums[path] = sums.get(path, 0.0) + np.asarray(gradient, np.float64)
    fixed = net.norms | net.roles['position']
    whole = (net.head | net.adapters | net.matching(r'/bias$')) - fixed
    kernels = [p for p in sorted(set(sums) - fixed - whole) if p.endswith('/kernel')]
    kernels = [path for path in kernels if len(net.shapes[path]) > 1]
    if not kernels:
        raise UserError('gps needs kernels in the trunk to choose from; only the head is open')
    entries = {path: of_neurons(np.abs(sums[path]), k) for path in kernels}
    weights = {path: float(path in whole or path in entries) for path in probe.params}
    chosen = sum(int(mask.sum()) for mask in entries.values())
    opened = {
        name: float(np.mean([entries[p].mean() for p in kernels if p.split('/')[0] == name]))
        for name in net.stages
        if any(p.split('/')[0] == name for p in kernels)
    }
    partly = {path: mask for path, mask in entries.items() if not mask.all()}
    return Choice(step, weights, {'by_stage': opened, 'entries': chosen}, partly)


def of_neurons(values: np.ndarray, k: int) -> np.ndarray:
    """A mask of the k highest values of every output, the last axis; of equals the first ones.

    >>> of_neurons(np.array([[3.0, 1.0], [2.0, 5.0]]), 1)
    array([[ True, False],
           [False,  True]])
    """
    flat = values.reshape(-1, values.shape[-1])
    best = np.argsort(-flat, axis=0, kind='stable')[:k]
    mask = np.zeros(flat.shape, bool)
    np.put_along_axis(mask, best, True, axis=0)
    return mask.reshape(values.shape)


def highest(net: Anatomy, step: int, values: Mapping[str, np.ndarray], share: float) -> Choice:
    """Opens exactly that share of the trunk's entries, those with the highest values."""
    trunk = sorted(set(values) - net.head)
    if not trunk:
        raise UserError(
            'an elementwise mask needs trunk leaves to choose from; only the head is open'
        )
    flat = np.concatenate([np.asarray(values[path]).ravel() for path in trunk])
    # A stable order: of equal values the earlier entry is taken, so the count is exact.
    chosen = np.zeros(flat.size, bool)
    chosen[np.argsort(-flat, kind='stable')[: max(1, round(share * flat.size))]] = True
    entries, weights, at = {}, dict.fromkeys(values, 1.0), 0
    for path in trunk:
        size = int(np.prod(net.shapes[path]))
        mask = chosen[at : at + size].reshape(net.shapes[path])
        at += size
        weights[path] = float(mask.any())
        if mask.any() and not mask.all():
            entries[path] = mask
    stages = {path.split('/')[0] for path in trunk}
    opened = {
        name: float(
            np.mean(
                [
                    entries[p].mean() if p in entries else weights[p]
                    for p in trunk
                    if p.split('/')[0] == name
                ]
            )
        )
        for name in net.stages
        if name in stages
    }
    return Choice(step, weights, {'by_stage': opened, 'entries': int(chosen.sum())}, entries)
