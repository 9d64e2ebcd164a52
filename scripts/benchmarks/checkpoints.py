"""How long a step waits for a checkpoint that is written in the background."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

CAPTION = (
    'Checkpoints of a ViT of 12 blocks with both moments of Adam, by its width. Waits: what the '
    'call keeps the training waiting; until written: until every byte and its hash are on disk, '
    'for which a synchronous save would wait. Share: one over the other; spread: least and most '
    'of the repeats. Core share: the same of processor time, which other programs on the machine '
    "do not change. Steps meanwhile: a step's time while a checkpoint is being written over a "
    "step's time alone, on the same cores. Orbax alone: its CheckpointManager on the same arrays, "
    'without hashes. Medians.'
)
COMMAND = 'python scripts/benchmark.py checkpoints'


def run(
    folder: pathlib.Path, widths: tuple[int, ...] = (192, 384), repeats: int = 7
) -> list[dict[str, Any]]:
    """Writes checkpoints.json and checkpoints.md."""
    from benchmarks import tables

    rows = []
    for width in widths:
        state = made_state(width)
        step = made_step(width)
        for name, opened in (('ours', ours), ('Orbax alone', orbax_alone)):
            with tempfile.TemporaryDirectory() as place:
                save, wait, close = opened(pathlib.Path(place) / 'checkpoints')
                found = [timed(save, wait, state, step, number) for number in range(repeats + 1)]
                close()
            waits, written, core, slower = zip(*found[1:], strict=True)  # the first one opens
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
                    'steps_meanwhile': statistics.median(slower),
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


def made_step(width: int) -> Callable[[], None]:
    """Some work of the device, as long as a small training step."""
    import jax
    import jax.numpy as jnp

    x = jnp.ones((1024, 4 * width))
    work = jax.jit(lambda x: jax.lax.fori_loop(0, 8, lambda _, y: jnp.tanh(y @ (x.T @ y)), x))
    return lambda: jax.block_until_ready(work(x))


def timed(save: Any, wait: Any, state: Any, step: Any, number: int) -> tuple[float, ...]:
    """Seconds of the call and until it is written; its share of core time; steps meanwhile."""

    def seconds() -> float:
        begun = time.perf_counter()
        step()
        return time.perf_counter() - begun

    alone = statistics.median(seconds() for _ in range(5))
    begun, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
    save(number, state)
    waits, core = time.perf_counter() - begun, time.thread_time() - thread
    wait()
    written = time.perf_counter() - begun
    core /= time.process_time() - process
    save(number + 1000, state)
    meanwhile, end = [], time.perf_counter() + 0.6 * (written - waits)
    while time.perf_counter() < end or not meanwhile:
        meanwhile.append(seconds())
    wait()
    return waits, written, core, statistics.median(meanwhile) / alone


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
