"""Rates chosen by gradients: Auto-RGN and the two readings of Auto-SNR.

A strategy that looks at the data is a function (net, probe, earlier, step, **parameters) ->
Choice; its option `when` is a function (run_length, **parameters) -> steps at which it is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.data_driven_choice import Choice
from ftjax.freezing.registry import strategy
from ftjax.freezing.run_length import RunLength
from ftjax.ranges import at_least

SOURCE = 'surgical fine-tuning, arXiv:2210.11466, and its code'


def every_epoch(run_length: RunLength, **_: object) -> tuple[int, ...]:
    """The first step of each epoch."""
    return tuple(range(0, run_length.steps, run_length.steps_per_epoch))


def check_more_than_norms(net: Anatomy, trainable: Collection[str]) -> None:
    """UserError where norms alone may train: rates are chosen of the other leaves."""
    if frozenset(trainable) <= net.norms:
        raise UserError(
            'auto_rgn and auto_snr choose rates of leaves that are in no norm, and none of them '
            'trains; open more of the network'
        )


# As released: a new optimizer each epoch, the network in evaluation mode throughout.
OPTIONS = {
    'norm': 'frozen',
    'noise': 'off',
    'optimizer_state': 'reset',
    'when': every_epoch,
    'often': True,
    'check': check_more_than_norms,
}


@strategy(
    'auto_rgn',
    'data_driven',
    batches=5,
    floor=0.01,
    source=SOURCE,
    options=OPTIONS,
    ranges={'batches': at_least(1), 'floor': at_least(0)},
)
def auto_rgn(net: Anatomy, probe, earlier, step: int, batches: int, floor: float):
    """Each epoch, a leaf's rate is its relative gradient norm over the largest; norms frozen.

    The code divides by the leaf's norm alone, so that a leaf of zeros (a new bias, LoRA's B)
    takes all the rate there is. Here a leaf counts as at least `floor` sqrt(size) long.
    """
    del earlier
    ratios: dict[str, list[float]] = {}
    for gradients in probe.gradients(batches):
        for path, gradient in gradients.items():
            if path not in net.norms:
                weight = np.asarray(probe.params[path], np.float64)
                least = floor * np.sqrt(weight.size)
                length = max(float(np.linalg.norm(weight)), least)
                norm = float(np.linalg.norm(np.asarray(gradient, np.float64)))
                ratios.setdefault(path, []).append(norm / length)
    means = {path: float(np.mean(values)) for path, values in ratios.items()}
    highest = max(means.values()) or 1.0
    weights = {path: means.get(path, 0.0) / highest for path in probe.params}
    return Choice(step, weights, {'by_stage': by_stage(net, weights)})


@strategy(
    'auto_snr_code',
    'data_driven',
    batches=5,
    threshold=0.95,
    source=SOURCE,
    options=OPTIONS,
    ranges={'batches': at_least(1), 'threshold': at_least(0)},
)
def auto_snr_code(net: Anatomy, probe, earlier, step: int, batches: int, threshold: float):
    """Each epoch, leaves train whose squared gradient over its variance across outputs is high.

    Mean of g^2 / (var(g over output channels) + 1e-8), as the released code computes it.
    """
    del earlier
    ratios: dict[str, list[float]] = {}
    for gradients in probe.gradients(batches):
        for path, gradient in gradients.items():
            if path not in net.norms:
                values = np.asarray(gradient, np.float64)
                # Output channels are the last axis here and the first in the code. One output
                # has no variance; the code's is NaN there and fails every comparison.
                spread = (
                    values.var(axis=-1, ddof=1, keepdims=True) if values.shape[-1] > 1 else np.inf
                )
                ratios.setdefault(path, []).append(float((values**2 / (spread + 1e-8)).mean()))
    return passing(net, probe, step, ratios, threshold)


@strategy(
    'auto_snr_paper',
    'data_driven',
    examples=64,
    threshold=0.95,
    source=SOURCE,
    options=OPTIONS,
    ranges={'examples': at_least(1), 'threshold': at_least(0)},
)
def auto_snr_paper(net: Anatomy, probe, earlier, step: int, examples: int, threshold: float):
    """Each epoch, leaves train whose mean gradient is high against its spread over examples.

    Mean of E[g]^2 / (Var[g] + 1e-8) with moments over single examples, as the paper says.
    """
    del earlier
    sums: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    count, none = 0, np.zeros(())
    for gradients in probe.example_gradients(examples):
        for path, gradient in gradients.items():
            if path not in net.norms:
                values = np.asarray(gradient, np.float64)
                first, second = sums.get(path, (none, none))
                sums[path] = first + values.sum(0), second + (values**2).sum(0)
        count += len(next(iter(gradients.values())))
    ratios = {}
    for path, (first, second) in sums.items():
        mean = first / count
        spread = np.maximum(second / count - mean**2, 0.0)
        ratios[path] = [float((mean**2 / (spread + 1e-8)).mean())]
    return passing(net, probe, step, ratios, threshold)


def passing(
    net: Anatomy, probe, step: int, ratios: Mapping[str, list[float]], threshold: float
) -> Choice:
    """Weight 1 for leaves that reach the threshold; for the highest alone if none does."""
    means = {path: float(np.mean(values)) for path, values in ratios.items()}
    chosen = {path for path, mean in means.items() if mean >= threshold}
    none = not chosen
    if none:
        chosen = {max(means, key=lambda path: means[path])}
    weights = {path: float(path in chosen) for path in probe.params}
    evidence = {'by_stage': by_stage(net, means), 'snr': means, 'none_reached_threshold': none}
    return Choice(step, weights, evidence)


def by_stage(net: Anatomy, values: Mapping[str, float]) -> dict[str, float]:
    """The mean of some leaves' values in each stage that has any."""
    found = {}
    for name in net.stages:
        inside = [value for path, value in values.items() if path.split('/')[0] == name]
        if inside:
            found[name] = float(np.mean(inside))
    return found
