"""Settings whose defaults were chosen by measurement: steps a call, rematerialising, threads."""

from __future__ import annotations

import gc
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

CALLS = {'resnet': (1, 2)}
"""Steps a call, where they are not those of `OTHERS`: a convolution in a loop takes seconds."""
OTHERS = (1, 4, 16)
BESIDE = ('one_thread', 'two_runs')
"""Columns that take processes of their own."""
NETWORKS = ('vit', 'bert', 'resnet', 'decoder', 'cached head')
DECODER = {'vocab_size': 4096, 'width': 192, 'depth': 6, 'heads': 6, 'mlp_dim': 512, 'head': 'lm'}
TEXTS, TOKENS = 8, 128
CAPTION = (
    'What a step takes under other settings: full fine-tuning of networks of `step` and of '
    f'a Llama (width 192, 6 blocks, {TEXTS} texts of {TOKENS} tokens), and the linear head of '
    'the ViT on stored features. "ms at 1, 2, 4, 16": milliseconds a step with so many steps in '
    'one call of the program (`train.steps_per_call`); "default": the steps a call that a run '
    'takes unless told; "over best": its time over that of the best of them. "remat": time of a '
    'step and memory of a call (arguments, results, temporaries) with `train.remat` over those '
    'without: it is off unless told, since it is slower. "one thread": time of a step on one '
    'core over that on all; "two runs": runs a second of two processes beside each other, each '
    'with the threads of all cores, over those of one process. Medians of rounds in turn; of '
    'processes, one of each kind. Blank: not measured. Within a call XLA keeps its memory; '
    'after it Linux takes it back, and hands it out again page by page, each filled with zeros: '
    'of a step of the ViT in a call of its own, 0.4 of 1.8 core seconds. Large pages '
    '(GLIBC_TUNABLES=glibc.malloc.hugetlb=1, set before Python starts) avoid most of that: 12 % '
    'less time with one step a call, 1 to 2 % with 16, 4 % for ResNet-26 (by hand, on the '
    'Xeon). They are not switched on: on that virtual machine a call after a pause of three '
    'seconds took longer with them, ResNet-26 .41 s and not .24. A convolution in a loop is the '
    'reason for one step a call.'
)


def run(
    folder: pathlib.Path,
    networks: str | Sequence[str] = NETWORKS,
    rounds: int = 2,
    threads: bool = True,
) -> list[dict[str, Any]]:
    """Writes defaults.json and .md, a row a network; without `threads` no process is started."""
    from benchmarks import tables
    from benchmarks.step import words

    from ftjax.errors import check_name

    wanted = [check_name(network, NETWORKS, 'network') for network in words(networks)]
    rows = tables.rows_here(folder, 'defaults')
    for network in wanted:
        known = {key: rows.get(network, {}).get(key) for key in BESIDE}
        rows[network] = measured(network, rounds) | (beside(network) if threads else known)
        tables.write(
            folder,
            'defaults',
            list(rows.values()),
            CAPTION,
            'python scripts/benchmark.py defaults',
            show=False,
        )
    print((folder / 'defaults.md').read_text(encoding='utf-8'))
    return list(rows.values())


def measured(network: str, rounds: int) -> dict[str, Any]:
    """A row, but for what takes other processes."""
    import jax

    plain = side(network)
    default, wanted = plain.chunk, CALLS.get(network, OTHERS)
    sides = {
        count: plain if count == default else side(network, steps_per_call=count)
        for count in dict.fromkeys((*wanted, default))
    }
    again = None if network == 'cached head' else side(network, remat=True)
    known = {**sides, **({} if again is None else {'remat': again})}
    times: dict[Any, list[float]] = {name: [] for name in known}
    for made in known.values():
        made.call()
    for number in range(rounds):
        order = list(known)
        for name in order if number % 2 == 0 else reversed(order):
            times[name].append(seconds_of(known[name], max(wanted)))
    calls = {count: statistics.median(times[count]) for count in sides}
    mine = calls[default]
    row = {
        'row': network,
        **{
            f'ms_at_{count}': 1e3 * calls[count] if count in calls else None
            for count in (1, 2, 4, 16)
        },
        'default': default,
        'over_best': mine / min(calls.values()),
        'remat_time': None if again is None else statistics.median(times['remat']) / mine,
        'remat_memory': None if again is None else again.peak_bytes / plain.peak_bytes,
    }
    jax.clear_caches()
    gc.collect()
    return row


def seconds_of(made: Any, count: int = 16) -> float:
    """Mean seconds of a step over so many of them or 0.2 s, whichever is more."""
    from benchmarks.step import step_seconds

    return step_seconds(made, count, 0.2)[0]


def side(network: str, **train: Any) -> Any:
    """The steps of `fit` on a network of the table."""
    from benchmarks.cases import CASES
    from benchmarks.fit_steps import FitSteps

    with tempfile.TemporaryDirectory() as place:
        if network == 'decoder':
            return FitSteps(*decoder(pathlib.Path(place)), TEXTS, head_is_new=False, train=train)
        case = CASES['vit' if network == 'cached head' else network]
        built, variables = case.network()
        data, preprocessing = case.data(built, pathlib.Path(place))
        stored = network == 'cached head'
        strategy = 'head' if stored else 'full'
        what = built, variables, strategy, data, preprocessing, case.batch
        return FitSteps(*what, cached=stored, train=train)


def decoder(place: pathlib.Path) -> tuple[Any, Any, str, Any, Any]:
    """(network, variables, strategy, data, preprocessing) of the Llama, random."""
    import jax
    from benchmarks.language_models import made_texts

    from ftjax.models.registry import build

    network = build('llama', DECODER)
    variables = jax.jit(network.init)(jax.random.key(0), network.example_input())
    data, preprocessing, _ = made_texts(str(place), TEXTS, TOKENS)
    return network, variables, 'full', data, preprocessing


def beside(network: str) -> dict[str, float]:
    """What one thread, and two processes at once, do with the step."""
    alone, pair = in_processes(network, 1)[0], in_processes(network, 2)
    return {
        'one_thread': in_processes(network, 1, cores=1)[0] / alone,
        'two_runs': sum(alone / seconds for seconds in pair),
    }


def in_processes(network: str, count: int, cores: int | None = None) -> list[float]:
    """Seconds a step in so many processes at once, each on so many cores; None for all."""
    scripts = pathlib.Path(__file__).parent.parent
    paths = (str(scripts), str(scripts.parent), os.environ.get('PYTHONPATH', ''))
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(path for path in paths if path)}
    command = [sys.executable, '-c', CHILD, network, str(cores or 0)]
    pipes: dict[str, Any] = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
    children: list[Any] = [
        subprocess.Popen(command, env=environment, **pipes) for _ in range(count)
    ]
    try:
        for child in children:  # compiled: now all begin at once
            if 'ready' not in child.stdout.readline():
                raise RuntimeError(f'a process of the benchmark ended: {network}')
        for child in children:
            child.stdin.write('go\n')
            child.stdin.flush()
        answers = [child.communicate()[0].splitlines() for child in children]
        if any(child.returncode for child in children):
            raise RuntimeError(f'a process of the benchmark ended: {network}')
        return [float(json.loads(lines[-1])) for lines in answers]
    finally:
        for child in children:
            child.kill()
            child.wait()


CHILD = """
import os, sys
network, cores = sys.argv[1], int(sys.argv[2])
if cores:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
from benchmarks.defaults import seconds_of, side
made = side(network)
made.call()
print('ready', flush=True)
sys.stdin.readline()
print(seconds_of(made))
"""
