"""Step time against depth, width, batch, tokens and more, beside arithmetic and a law."""

from __future__ import annotations

import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

IMAGE, PATCH, DEPTH, WIDTH, BATCH = 112, 16, 12, 192, 16
TOKENS = (IMAGE // PATCH) ** 2 + 1
HEAD_STEPS = 64
POINTS: dict[str, tuple[Any, ...]] = {
    'depth': (3, 6, 12, 24),
    'width': (96, 192, 384),
    'batch': (4, 8, 16, 32),
    'tokens': (10, 50, 197),  # a side of 48, 112 and 224 pixels, and the token of the class
    'trained': ('head', 'last:1', 'last:3', 'last:6', 'full'),
    'devices': (1, 2, 4),
    'seeds': (1, 4, 16),
}
CAPTION = (
    f'Training steps of a ViT (depth {DEPTH}, width {WIDTH}, {IMAGE} px, batch {BATCH}, full '
    'fine-tuning) with one of these changed: seconds of a step over those of the network above, '
    'timed in turn, and the same quotient of the products of matrices that the step needs, in '
    'closed form (scripts/benchmarks/ideal_vit.py). Ratio: ideal over time, above 1 where a step '
    'costs less than in proportion; spread: quartiles of the rounds. Devices: the host forced to '
    'be so many, on the same cores, beside one: the ideal is no change. Seeds: so many heads on '
    'stored features that train in one program, beside one head: the ideal is so many times it. '
    'Law: a fixed time, and times in proportion to the trained parameters, to the products of the '
    'forward pass and to those of gradients (columns: as shares of the network above); the four '
    'numbers are fitted to the rows of depth, batch, tokens and trained, and stand in the row '
    '"numbers", the fixed one under "law". Width, devices and seeds change how fast a product is, '
    'which it does not know.'
)
LAW = ('depth', 'batch', 'tokens', 'trained')
"""Axes that the law is fitted to."""
WORK = ('parameters', 'forward', 'gradients')
"""Its terms, besides the fixed one."""
COMMAND = 'python scripts/benchmark.py scaling'


def run(folder: pathlib.Path, rounds: int = 5, points: str = '') -> list[dict[str, Any]]:
    """Writes scaling.json and scaling.md; `points` names some of depth, width, .. ('a,b')."""
    import jax
    from benchmarks import tables

    from ftjax.errors import check_name
    from ftjax.io.process.progress import Progress

    wanted = [check_name(p, POINTS, 'axis') for p in points.split(',')] if points else list(POINTS)
    found = {axis: POINTS[axis] for axis in wanted}
    rows = []
    base = Point()
    with Progress(sum(map(len, found.values())), 'scaling') as bar:
        for axis, values in found.items():
            for value in values:
                if axis == 'devices':
                    rows.append(devices_row(value, rounds))
                elif axis == 'seeds':
                    rows.append(seeds_row(value, rounds))
                else:
                    rows.append(row_of(axis, value, base, Point(**{axis: value}), rounds))
                    jax.clear_caches()
                bar.update(len(rows), {})
    law = with_law(rows)
    rows += [law_row(law)] if law else []
    tables.write(folder, 'scaling', rows, CAPTION, COMMAND)
    return rows


def with_law(rows: list[dict[str, Any]]) -> list[float]:
    """Adds what the law gives of each row, and that over its time; its four numbers, or [].

    [] where the rows are too few to tell them apart, of one axis for instance.

    time = fixed + a * trained parameters + b * forward products + c * products of gradients, all
    as shares of the network in the middle; none below 0, fitted to the relative errors.
    """
    import numpy as np
    from scipy.optimize import nnls

    held = [row for row in rows if row['row'].split()[0] in LAW]
    terms = np.array([[1.0, *(row[key] for key in WORK)] for row in held]).reshape(-1, 4)
    times = np.array([row['time_of_base'] for row in held])
    for row in rows:
        row['law'] = row['law_over_time'] = None
    if np.linalg.matrix_rank(terms) < 4:
        return []
    found = nnls(terms / times[:, None], np.ones(len(held)))[0]
    for row, given in zip(held, terms @ found, strict=True):
        row['law'], row['law_over_time'] = float(given), float(given / row['time_of_base'])
    return [float(number) for number in found]


def law_row(law: list[float]) -> dict[str, Any]:
    """The four numbers of the law, as a row under the columns that they multiply."""
    return {'row': 'numbers', **dict(zip(WORK, law[1:], strict=True)), 'law': law[0]}


class Point:
    """A network and its steps."""

    def __init__(
        self,
        depth: int = DEPTH,
        width: int = WIDTH,
        batch: int = BATCH,
        tokens: int = TOKENS,
        trained: str = 'full',
        cached: bool = False,
    ):
        import jax
        from benchmarks.fit_steps import FitSteps
        from benchmarks.ideal_vit import ideal_flops, operations
        from benchmarks.sides import made_images

        from ftjax.data import Splits
        from ftjax.models.registry import build
        from ftjax.preprocessing.images import Preprocessing

        image = PATCH * math.isqrt(tokens - 1)
        sizes = {'depth': depth, 'width': width, 'heads': width // 32, 'patch_size': PATCH}
        network = build('vit', {'image_size': image, 'num_classes': 10, **sizes})
        variables = jax.jit(network.init)(jax.random.key(0), network.example_input())
        train = made_images(2 * batch, image)
        data = Splits(train=train, val=train, test=train)
        preprocessing = Preprocessing(image_size=(image, image))
        self.side = FitSteps(
            *(network, variables, trained, data, preprocessing, batch),
            cached=cached,
            longest=2,
        )
        phase = self.side.phase_state.phase
        shapes = {path: leaf.shape for path, leaf in phase.leaves.items()}
        self.ideal = ideal_flops(network, shapes, phase.trainable, batch)
        forward = sum(operation.flops for operation in operations(network, shapes, batch))
        self.work = dict(
            zip(WORK, (self.side.trainable, forward, self.ideal - forward), strict=True)
        )
        self.side.steps(2)

    def seconds(self) -> float:
        """Of a step, over a call."""
        began = time.perf_counter()
        made = self.side.steps(2)
        return (time.perf_counter() - began) / made


class Heads:
    """Heads of several seeds on stored features, all steps in one program."""

    def __init__(self, seeds: int):
        import numpy as np

        from ftjax.training.feature_cache.sources import Sources
        from ftjax.training.step.phase_state import PhaseState
        from ftjax.training.sweeps.vmapped_runs import Runs

        spec = Point(trained='head', cached=True).side.spec
        states, sources = [], []
        for _ in range(seeds):
            states.append(PhaseState(spec))
            states[-1].enter(0)
            sources.append(Sources(spec).of(states[-1], 0))
        self.runs = Runs(states, sources, [1e-3])
        self.factors = np.ones((HEAD_STEPS, len(states[0].phase.trainable)), np.float32)
        self.seconds()

    def seconds(self) -> float:
        """Of a step of all heads, over a call."""
        began = time.perf_counter()
        self.runs.advance(HEAD_STEPS, self.factors)
        return (time.perf_counter() - began) / HEAD_STEPS


def seeds_row(count: int, rounds: int) -> dict[str, Any]:
    """Heads of so many seeds in one program, in turn with one head."""
    many, one = Heads(count), Heads(1)
    pairs = [(many.seconds(), one.seconds()) for _ in range(rounds)]
    return made_row(f'seeds {count}', [mine / other for mine, other in pairs], count, pairs)


def row_of(axis: str, value: Any, base: Point, point: Point, rounds: int) -> dict[str, Any]:
    """A row of the table, the two timed in turn."""
    pairs = [(point.seconds(), base.seconds()) for _ in range(rounds)]
    ideal = point.ideal / base.ideal
    row = made_row(f'{axis} {value}', [mine / other for mine, other in pairs], ideal, pairs)
    return row | {key: point.work[key] / base.work[key] for key in WORK}


def made_row(name: str, times: list[float], ideal: float, pairs: list[Any]) -> dict[str, Any]:
    """A row from quotients of times and the ideal one."""
    import numpy as np

    return {
        'row': name,
        'ratio': ideal / statistics.median(times),
        'spread': [float(q) for q in np.quantile(ideal / np.array(times), (0.25, 0.75))],
        'target': None,
        'time_of_base': statistics.median(times),
        'ideal_of_base': ideal,
        'step_ms': 1e3 * statistics.median(mine for mine, _ in pairs),
        'rounds': len(times),
    }


def devices_row(count: int, rounds: int) -> dict[str, Any]:
    """Steps in a process of so many devices, in turn with those in a process of one."""
    pairs = [(in_process(count, 1), in_process(1, 1)) for _ in range(max(1, rounds // 2))]
    return made_row(f'devices {count}', [mine / other for mine, other in pairs], 1.0, pairs)


def in_process(devices: int, rounds: int) -> float:
    """Median seconds a step in a process of its own."""
    scripts = pathlib.Path(__file__).parent.parent
    code = f'from benchmarks.scaling import median_step; print(median_step({rounds}))'
    flags = f'--xla_force_host_platform_device_count={devices}'
    paths = (str(scripts), str(scripts.parent), os.environ.get('PYTHONPATH', ''))
    environment = os.environ | {
        'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {flags}'.strip(),
        'JAX_PLATFORMS': 'cpu',
        'PYTHONPATH': os.pathsep.join(path for path in paths if path),
    }
    done = subprocess.run(
        [sys.executable, '-c', code], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f'{devices} devices: {done.stderr[-2000:]}')
    return float(json.loads(done.stdout.splitlines()[-1]))


def median_step(rounds: int) -> float:
    """Median seconds a step of the network of the caption, on all devices of this process."""
    point = Point()
    return statistics.median(point.seconds() for _ in range(3 * rounds))
