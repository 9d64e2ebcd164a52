"""Training steps of several strategies and networks, beside PyTorch's in the same process."""

from __future__ import annotations

import gc
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# On a GPU both sides share the memory: neither may take most of it beforehand.
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')

STRATEGIES = ('full', 'last:2', 'bitfit', 'lora:8', 'head')
CACHED = ('last:2', 'head')
"""Strategies that are timed from stored features too, beside PyTorch without a cache."""
TARGETS = {
    'vit': {'full': 1.0, 'last:2': 1.0, 'head': 1.1, 'last:2 cached': 2.0, 'head cached': 50.0},
    'bert': {'full': 1.0, 'last:2': 1.0, 'head': 1.1, 'last:2 cached': 1.5, 'head cached': 50.0},
    'resnet': {'full': 0.9, 'last:2': 0.9, 'head': 0.9, 'last:2 cached': 1.3, 'head cached': 50.0},
    'segmentation': {
        'full': 1.0,
        'last:2': 1.0,
        'head': 1.0,
        'last:2 cached': 1.5,
        'head cached': 2.0,
    },
    'vit_b': {'full': 1.0},
}
CAPTION = (
    'Training steps beside PyTorch: ViT (width 192, 12 blocks, 224 px, batch 16), BERT in the '
    'shape of MiniLM (6 blocks, width 384, 64 tokens, batch 32), ResNet-26 with GroupNorm (32 '
    'px, batch 64), the ViT with a linear head on its patches and a loss of each of 224 x 224 '
    'pixels of 21 classes, float32; on a GPU ViT-B/16 (224 px, batch 128) in bf16. AdamW, no '
    'dropout, the same parameters trained on both sides, the same number of threads '
    '(OMP_WAIT_POLICY=passive). Ratio: median seconds a step of PyTorch over those of ftjax, '
    'eager and compiled; spread: quartiles of the ratios of blocks taken in turn; of core '
    'seconds: the same of all cores together, which says more on a machine that does something '
    'else beside. "cached": ftjax starts from stored features, PyTorch runs the frozen part at '
    'every step. Utilisation: FLOPs of the compiled step a second, over those of a large '
    'product of matrices; peak MiB: arguments, results and temporaries of a call. Steps a call: '
    'of our program, as in a run, but 4 for bitfit and lora:8; rows that do not say it are of 4 '
    'at most, and of LayerNorm without its written gradient. ResNet-26 has no queries and '
    'values for lora. Rows of the EPYC but those of ResNet-26: other work began on the machine '
    'in their midst (BERT most), so their ratios of core seconds say more than their ratios.'
)
COMMAND = 'python scripts/benchmark.py step'


def run(
    folder: pathlib.Path,
    networks: str | Sequence[str] = ('vit', 'bert', 'resnet', 'segmentation'),
    strategies: str | Sequence[str] = STRATEGIES,
    steps: int = 20,
    block: int | None = None,
    compiled: bool = False,
    cached: bool = True,
    again: bool = False,
) -> list[dict[str, Any]]:
    """Writes step.json and step.md, a row a network and strategy.

    Each side runs `block` steps in turn until it has run `steps`, and four blocks at least, after
    one block that warms up; None: the steps of one call of a run, at least 4. Steps from stored
    features, which are short, run in blocks of 0.1 s or more. Rows that
    the folder holds are kept, unless they are to be made `again` or their compiled side is
    wanted and missing.
    """
    import jax
    from benchmarks import tables
    from benchmarks.cases import CASES

    from ftjax.errors import check_name
    from ftjax.io.process.progress import Progress

    networks = words(networks)
    wanted = words(strategies)
    pairs = [
        (check_name(network, CASES, 'network'), check_name(strategy, STRATEGIES, 'strategy'))
        for network in networks
        for strategy in wanted
        if (network, strategy) != ('resnet', 'lora:8')
    ]
    rows = tables.rows_here(folder, 'step')
    rate = product_rate(CASES[networks[0]].precision)
    with Progress(len(pairs), 'step', unit='pair') as bar:
        for done, (network, strategy) in enumerate(pairs, 1):
            title = f'{CASES[network].title} {strategy}'
            known = rows.get(title)
            if again or known is None or (compiled and known['ratio_compiled'] is None):
                kinds = (False, True) if cached and strategy in CACHED else (False,)
                found = measured(network, strategy, kinds, steps, block, compiled, rate)
                rows.update({row['row']: row for row in found})
                tables.write(folder, 'step', list(rows.values()), CAPTION, COMMAND, show=False)
                jax.clear_caches()
                gc.collect()
            bar.update(done, {})
    print((folder / 'step.md').read_text(encoding='utf-8'))
    return list(rows.values())


def words(given: str | Sequence[str]) -> list[str]:
    """A list given as one, or as 'a,b'."""
    return given.split(',') if isinstance(given, str) else list(given)


def product_rate(precision: str, size: int = 4096) -> float:
    """Most FLOPs a second of a product of two square matrices, in six tries."""
    import jax
    import jax.numpy as jnp

    size = size if jax.default_backend() == 'gpu' else size // 2
    matrix = jnp.ones((size, size), precision)
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(matrix))
    best = min(seconds(lambda: jax.block_until_ready(product(matrix))) for _ in range(6))
    return 2 * size**3 / best


def seconds(function: Callable[[], Any]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measured(
    network: str,
    strategy: str,
    kinds: Sequence[bool],
    steps: int,
    block: int | None,
    compiled: bool,
    rate: float,
) -> list[dict[str, Any]]:
    """The rows of one strategy, without and, where `kinds` says so, with stored features."""
    from benchmarks.cases import CASES
    from benchmarks.fit_steps import FitSteps
    from benchmarks.sides import threads
    from benchmarks.torch_steps import TorchSteps

    case = CASES[network]
    with tempfile.TemporaryDirectory() as folder:
        built, variables = case.network()
        data, preprocessing = case.data(built, pathlib.Path(folder))
        ours = {
            kind: FitSteps(
                *(built, variables, strategy, data, preprocessing, case.batch),
                cached=kind,
                longest=None if kind else block,
            )
            for kind in kinds
        }
        theirs = {
            kind: TorchSteps(case, strategy, data, preprocessing, threads(), kind)
            for kind in ((False, True) if compiled else (False,))
        }
    check_sizes(ours[False], theirs[False])
    block = block or max(4, ours[False].chunk)
    sides = {('ftjax', kind): side for kind, side in ours.items()}
    sides |= {('torch', kind): side for kind, side in theirs.items()}
    for side in sides.values():
        side.steps(block)
    times: dict[Any, list[tuple[float, float]]] = {name: [] for name in sides}
    turns = max(4, -(-steps // block))  # of which there are quartiles
    for turn in range(turns):
        order = list(sides)
        for name in order if turn % 2 == 0 else reversed(order):
            least = 0.1 if name == ('ftjax', True) else 0.0
            times[name].append(step_seconds(sides[name], block, least))
    return [
        row_of(network, strategy, kind, ours[kind], times, rate, turns * block) for kind in kinds
    ]


def step_seconds(side: Any, block: int, least: float) -> tuple[float, float]:
    """Mean seconds of a step, on the clock and of all cores.

    Over a block of at least so many steps and seconds.
    """
    began, cores, made = time.perf_counter(), time.process_time(), 0
    while made < block or time.perf_counter() - began < least:
        made += side.steps(block)
    return (time.perf_counter() - began) / made, (time.process_time() - cores) / made


def check_sizes(ours: Any, theirs: Any) -> None:
    """Both sides have and train equally many parameters."""
    mine, other = (ours.size, ours.trainable), (theirs.size, theirs.trainable)
    if mine != other:
        raise AssertionError(f'parameters, trained ones: ftjax {mine}, PyTorch {other}')


def row_of(
    network: str,
    strategy: str,
    kind: bool,
    side: Any,
    times: dict[Any, list[tuple[float, float]]],
    rate: float,
    steps: int,
) -> dict[str, Any]:
    """A row of the table."""
    from benchmarks.cases import CASES

    case, name = CASES[network], f'{strategy} cached' if kind else strategy
    mine, my_cores = np.array(times['ftjax', kind]).T
    eager, their_cores = np.array(times['torch', False]).T
    faster = [clock for clock, _ in times['torch', True]] if ('torch', True) in times else None
    median = float(np.median(mine))
    return {
        'row': f'{case.title} {name}',
        'ratio': float(np.median(eager)) / median,
        'spread': [float(q) for q in np.quantile(eager / mine, (0.25, 0.75))],
        'target': TARGETS[network].get(name),
        'ratio_of_core_seconds': float(np.median(their_cores) / np.median(my_cores)),
        'ratio_compiled': None if faster is None else float(np.median(faster)) / median,
        'ftjax_ms': 1e3 * median,
        'pytorch_ms': 1e3 * float(np.median(eager)),
        'pytorch_compiled_ms': None if faster is None else 1e3 * float(np.median(faster)),
        'examples_a_second': case.batch / median,
        'unit': case.unit,
        'compile_seconds': side.known.seconds,
        'peak_MiB': side.peak_bytes / 2**20,
        'utilisation': side.flops / median / rate,
        'trained': side.trainable,
        'steps': steps,
        'steps_a_call': side.chunk,
    }
