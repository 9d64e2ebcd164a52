"""What the benchmarks beside PyTorch share: the network, its data, and ratios with a spread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

CLASSES = 10
OPTIONS = {'patch': 16, 'width': 192, 'depth': 12, 'heads': 3}


def made_images(count: int, size: int, seed: int = 0) -> Any:
    """A data set of random images: what they show does not change what they cost."""
    from ftjax.data import Dataset

    rng = np.random.default_rng(seed)
    return Dataset(
        name=f'random {seed}',
        kind='image',
        inputs=rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        labels=np.arange(count) % CLASSES,
        class_names=tuple(map(str, range(CLASSES))),
    )


def made_masks(count: int, size: int, seed: int = 0) -> Any:
    """Random images with masks of 21 classes in blocks of 8 pixels, a tenth of them not counted."""
    import dataclasses

    from ftjax.data.masks.mask import MaskPixels, masks

    rng, images = np.random.default_rng(seed), made_images(count, size, seed)
    blocks = rng.integers(0, 21, (count, -(-size // 8), -(-size // 8)))
    labels = blocks.repeat(8, axis=1).repeat(8, axis=2)[:, :size, :size].astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    return dataclasses.replace(
        images,
        labels=masks([MaskPixels(each) for each in labels]),
        class_names=tuple(map(str, range(21))),
        task='segmentation',
    )


def made_network(size: int, depth: int) -> tuple[Any, Any]:
    """A ViT and its variables, random."""
    import jax

    from ftjax.models.registry import build

    network = build(
        'vit',
        {
            'image_size': size,
            'patch_size': OPTIONS['patch'],
            'width': OPTIONS['width'],
            'depth': depth,
            'heads': OPTIONS['heads'],
            'num_classes': CLASSES,
        },
    )
    return network, jax.jit(network.init)(jax.random.key(0), network.example_input())


def threads() -> int:
    """Cores that both sides may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


Times = Any
"""Seconds on the clock, and seconds of all cores of this process."""


def timed(function: Callable[[], Any]) -> Times:
    """How long a call takes."""
    clock, cores = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - cores


def row(
    name: str, ours: Sequence[Times], theirs: Sequence[Times], target: float | None, unit: str
) -> dict[str, Any]:
    """A row: the median of the ratios taken in turn, their quartiles, and the median seconds.

    The ratio of the seconds of all cores says less on a machine at rest, and more on one that
    does something else beside.
    """
    mine, other = np.array(ours), np.array(theirs)
    ratios = other / mine
    return {
        'row': name,
        'ratio': float(np.median(ratios[:, 0])),
        'spread': [float(q) for q in np.quantile(ratios[:, 0], (0.25, 0.75))],
        'target': target,
        'ratio_of_core_seconds': float(np.median(ratios[:, 1])),
        'ours_seconds': float(np.median(mine[:, 0])),
        'pytorch_seconds': float(np.median(other[:, 0])),
        'unit': unit,
        'rounds': len(ratios),
    }


class FineTuning:
    """Training steps of ftjax on images in memory, from the cut on where there is one."""

    def __init__(self, network: Any, variables: Any, freeze: str, data: Any, batch: int):
        from ftjax.freezing.plan.plan import make_plan
        from ftjax.optim.optimizer import OptimizerSettings
        from ftjax.training.feature_cache.sources import Sources
        from ftjax.training.settings import TrainSettings
        from ftjax.training.step.phase_state import PhaseState
        from ftjax.training.step.run_spec import RunSpec

        spec = RunSpec(
            *(network, variables, make_plan(freeze, network, variables), data),
            optimizer=OptimizerSettings(learning_rate=1e-3, weight_decay=0.01),
            settings=TrainSettings(cache='off' if freeze == 'full' else 'on'),
            preprocessing=self.preprocessing(network),
            batch_size=batch,
            eval_batch_size=64,
        )
        self.phase_state = PhaseState(spec)
        self.phase_state.enter(0)
        sources = Sources(spec)
        self.filling = timed(lambda: sources.of(self.phase_state, 0))
        self.source = sources.source

    @staticmethod
    def preprocessing(network: Any) -> Any:
        """Pixels to -1 .. 1."""
        from ftjax.preprocessing.images import Preprocessing

        return Preprocessing(image_size=network.image_hw)

    def steps(self, count: int) -> None:
        """Runs some steps in one call, as `fit` does, from batches in memory."""
        import jax

        from ftjax.data.text.stacked_batches import stacked
        from ftjax.training.loop.step_runner import model_inputs
        from ftjax.training.step.multi_step import MultiStep
        from ftjax.xla.program_cache import program, replicated

        phase_state = self.phase_state
        run = MultiStep(phase_state.step(self.source.start))
        rates = replicated(np.full((count, len(phase_state.phase.trainable)), 1e-3, np.float32))
        group = [model_inputs(next(self.source.batches)) for _ in range(count)]
        batches, skips = jax.device_put(stacked(group)), replicated(np.int32(0))
        arguments = phase_state.state, phase_state.frozen, batches, rates, skips
        phase_state.state, metrics = program(run, *arguments, donate=(0,)).call(*arguments)
        np.asarray(metrics['loss'])
