"""How long training waits for a checkpoint that is written in the background."""

from __future__ import annotations

import math
import pathlib
import statistics
import tempfile
import time
from typing import Any

import numpy as np

CAPTION = (
    'Checkpoints of a ViT of 12 blocks with both moments of Adam, by its width. Synchronous: the '
    'call until every byte and its hash are on disk, with no step meanwhile. Waits: what training '
    'waits for, the call alone, while the rest is written beside the steps; share: over the '
    'synchronous time. Slower: by how much the steps that are made until it is written take longer '
    'than so many alone, over the synchronous time: on a CPU writing and hashing need the '
    'processors of the steps. Steps update the donated state. Spread: least and most of the '
    'repeats. Orbax alone: its CheckpointManager on the same arrays, without hashes. Medians.'
)
COMMAND = 'python scripts/benchmark.py checkpoints'


def run(
    folder: pathlib.Path, widths: tuple[int, ...] = (192, 384), repeats: int = 7
) -> list[dict[str, Any]]:
    """Writes checkpoints.json and checkpoints.md."""
    from benchmarks import tables

    rows = []
    for width in widths:
        for name, opened in (('ours', ours), ('Orbax alone', orbax_alone)):
            state = made_state(width)
            with tempfile.TemporaryDirectory() as place:
                save, wait, close = opened(pathlib.Path(place) / 'checkpoints')
                found = [timed(save, wait, state, number) for number in range(repeats + 1)]
                close()
            whole, waits, slower = zip(*found[1:], strict=True)  # the first one opens
            shares = [one / every for one, every in zip(waits, whole, strict=True)]
            beside = [one / every for one, every in zip(slower, whole, strict=True)]
            rows.append(
                {
                    'row': f'{name}, width {width}',
                    'leaves': sum(len(part) for part in state.values()),
                    'megabytes': round(sum(x.nbytes for x in state['params'].values()) * 3 / 1e6),
                    'synchronous_seconds': statistics.median(whole),
                    'waits_seconds': statistics.median(waits),
                    'share': statistics.median(shares),
                    'spread': [min(shares), max(shares)],
                    'slower': statistics.median(beside),
                    'target': 0.05,
                    'repeats': repeats,
                }
            )
    tables.write(folder, 'checkpoints', rows, CAPTION, COMMAND)
    return rows


def made_state(width: int) -> dict[str, dict[str, Any]]:
    """Leaves of a ViT and their moments on the device, random: they do not compress."""
    import jax

    from ftjax.models.registry import build
    from ftjax.pretrained.initialise import leaf_shapes

    options = {'width': width, 'depth': 12, 'heads': 3, 'image_size': 224, 'num_classes': 10}
    shapes = leaf_shapes(build('vit', options))
    draw = np.random.default_rng(0)
    return {
        part: {
            key: jax.device_put(draw.standard_normal(leaf.shape, np.float32))
            for key, leaf in shapes.items()
        }
        for part in ('params', 'mu', 'nu')
    }


def timed(save: Any, wait: Any, state: Any, number: int) -> tuple[float, float, float]:
    """Seconds of a synchronous save, of the call of another, and that steps beside it lose."""
    import jax

    update = jax.jit(lambda tree: jax.tree.map(lambda x: 0.5 * x, tree), donate_argnums=0)

    def steps(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            state.update(jax.block_until_ready(update(dict(state))))
        return time.perf_counter() - begun

    alone = statistics.median(steps(1) for _ in range(5))
    begun = time.perf_counter()
    save(2 * number, state)
    wait()
    whole = time.perf_counter() - begun
    begun = time.perf_counter()
    save(2 * number + 1, state)
    waits = time.perf_counter() - begun
    count = math.ceil(whole / alone)  # as many as fit in until it is written
    slower = steps(count) - count * alone
    wait()
    return whole, waits, slower


def ours(folder: pathlib.Path) -> tuple[Any, Any, Any]:
    """(save, wait, close) of a run's checkpoints."""
    from ftjax.distributed.device_put import on_host
    from ftjax.training.checkpoints.checkpoints import Checkpoints

    there = Checkpoints(folder)

    def save(step: int, state: Any) -> None:
        there.save(step, {'state': on_host(state)})

    return save, there.wait, lambda: there.__exit__(None, None, None)


def orbax_alone(folder: pathlib.Path) -> tuple[Any, Any, Any]:
    """(save, wait, close) of Orbax's manager."""
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
    manager = ocp.CheckpointManager(folder, options=options)

    def save(step: int, state: Any) -> None:
        args = ocp.args.Composite(state=ocp.args.PyTreeSave(state))
        manager.save(step, args=args, force=True)

    return save, manager.wait_until_finished, manager.close
