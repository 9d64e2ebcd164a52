"""How long a step waits for a checkpoint that is written in the background."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
import time
from typing import Any

import numpy as np

CAPTION = (
    'Checkpoints of a ViT of 12 blocks with both moments of Adam, by its width. Waits: the call '
    'and the step after it, less a step alone; a step updates the donated state. Until written: '
    'until every byte and its hash are on disk, for which a synchronous save would wait. Share: '
    'one over the other; spread: least and most of the repeats. Core share: processor time of the '
    'call over that of all until it is written, which other programs on the machine change less. '
    'Orbax alone: its CheckpointManager on the same arrays, without hashes. Medians.'
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
            waits, written, core = zip(*found[1:], strict=True)  # the first one opens
            shares = [one / whole for one, whole in zip(waits, written, strict=True)]
            rows.append(
                {
                    'row': f'{name}, width {width}',
                    'leaves': sum(len(part) for part in state.values()),
                    'megabytes': round(sum(x.nbytes for x in state['params'].values()) * 3 / 1e6),
                    'waits_seconds': statistics.median(waits),
                    'until_written_seconds': statistics.median(written),
                    'share': statistics.median(shares),
                    'spread': [min(shares), max(shares)],
                    'core_share': statistics.median(core),
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
    """Seconds that training waits and until it is written, share of core time of the call."""
    import jax

    update = jax.jit(lambda tree: jax.tree.map(lambda x: 0.5 * x, tree), donate_argnums=0)

    def step() -> float:
        begun = time.perf_counter()
        state.update(jax.block_until_ready(update(dict(state))))
        return time.perf_counter() - begun

    alone = statistics.median(step() for _ in range(5))
    begun, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
    save(number, state)
    core = time.thread_time() - thread
    step()
    waits = time.perf_counter() - begun - alone
    wait()
    written = time.perf_counter() - begun
    return waits, written, core / (time.process_time() - process)


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
