"""From a command to its first training step, and what importing ftjax adds to JAX and Flax."""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

IMAGE, EXAMPLES, BATCH = 224, 48, 16
VIT = {'name': 'vit', 'width': 192, 'depth': 12, 'heads': 3, 'patch_size': 16, 'image_size': IMAGE}
LIBRARIES = 'import jax, flax, flax.linen, optax'
OURS = 'import ftjax, ftjax.cli.launch, ftjax.config, ftjax.runs.prepare, ftjax.runs.run'
TIMED_IMPORT = (
    'import time; t = time.perf_counter(), time.process_time(); {}; '
    'print([time.perf_counter() - t[0], time.process_time() - t[1]])'
)
# The first call of a compiled program ends when its losses are on the host.
FIRST_STEP = """
import sys, time
from ftjax.training.loop import step_runner
steps = step_runner.StepRunner.steps
def first(self, *args):
    loss = steps(self, *args)
    print('first step at', time.time(), time.process_time(), file=sys.stderr, flush=True)
    step_runner.StepRunner.steps = steps
    return loss
step_runner.StepRunner.steps = first
import runpy
sys.argv = sys.argv[1:]
sys.path.insert(0, {scripts!r})
runpy.run_path(sys.argv[0], run_name='__main__')
"""
CAPTION = (
    f'Seconds from the command to the end of the first training call of scripts/train.py: ViT of '
    f'{VIT["depth"]} blocks, width {VIT["width"]}, {IMAGE} px, batch {BATCH}, full, one step a '
    'call, from a folder of images already on disk; cold: with an empty compilation cache; warm: '
    'with the one that a run before has filled; the bytecode of all modules is cached, as it is '
    'once a package was used. Import: what ftjax adds to jax, flax and optax '
    'in a fresh process. Ratio: target over median; spread: least and most of the repeats.'
)
COMMAND = 'python scripts/benchmark.py startup'


def run(folder: pathlib.Path, repeats: int = 3, freeze: str = 'full') -> list[dict[str, Any]]:
    """Writes startup.json and startup.md."""
    from benchmarks import tables

    times: dict[str, list[tuple[float, float]]] = {'cold': [], 'warm': [], 'import': []}
    with tempfile.TemporaryDirectory() as name:
        room = pathlib.Path(name)
        write_images(room / 'images')
        import_seconds(OURS, room)  # Python's own cache, which an installed package has
        for number in range(repeats):
            for kind in ('cold', 'warm'):  # the warm one finds what the cold one stored
                cache = room / f'cache_{number}'
                times[kind].append(first_step(room, cache, freeze, f'{kind}_{number}'))
            times['import'].append(import_seconds(OURS, room))
    targets = {'cold': 15.0, 'warm': 6.0, 'import': 1.0}
    names = {
        'cold': 'first step, cold',
        'warm': 'first step, with the compilation cache',
        'import': 'import of ftjax over jax, flax and optax',
    }
    rows = [made_row(names[kind], found, targets[kind]) for kind, found in times.items()]
    tables.write(folder, 'startup', rows, CAPTION, COMMAND)
    return rows


def made_row(name: str, times: list[tuple[float, float]], target: float) -> dict[str, Any]:
    """A row of the table, from (seconds, seconds of all cores) of each repeat."""
    clock, cores = zip(*times, strict=True)
    return {
        'row': name,
        'seconds': statistics.median(clock),
        'spread': [min(clock), max(clock)],
        'target_seconds': target,
        'core_seconds': statistics.median(cores),
        'ratio': target / statistics.median(clock),
        'target': 1.0,
        'repeats': len(times),
    }


def write_images(folder: pathlib.Path) -> None:
    """Two classes of random PNG files, for each split."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (('train', EXAMPLES), ('val', BATCH), ('test', BATCH)):
        for number in range(count):
            place = folder / split / f'class{number % 2}'
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (IMAGE, IMAGE, 3), np.uint8)
            Image.fromarray(pixels).save(place / f'{number:03d}.png')


def first_step(
    room: pathlib.Path, cache: pathlib.Path, freeze: str, name: str
) -> tuple[float, float]:
    """Seconds from the start of the process until the first step's loss is there.

    And the seconds of all cores, which say more on a machine that does something else beside.
    """
    config = room / 'config.py'
    if not config.exists():
        config.write_text(CONFIG.format(images=str(room / 'images'), vit=VIT, batch=BATCH))
    scripts = pathlib.Path(__file__).parent.parent
    environment = environment_of(room) | {'FTJAX_CACHE': str(cache)}
    code = FIRST_STEP.format(scripts=str(scripts))
    arguments = [f'--config={config}', f'--workdir={room / name}', f'--config.freeze={freeze}']
    command = [sys.executable, '-c', code, str(scripts / 'train.py'), *arguments]
    began = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith('first step at')]
    if done.returncode or not lines:
        raise RuntimeError(f'the run ended with {done.returncode}: {done.stderr[-2000:]}')
    at, cores = map(float, lines[0].split()[-2:])
    return at - began, cores


def environment_of(room: pathlib.Path) -> dict[str, str]:
    """That of a user: the compiled modules of Python are kept, here in the room."""
    root = str(pathlib.Path(__file__).parent.parent.parent)
    paths = (root, os.environ.get('PYTHONPATH', ''))
    environment = os.environ | {
        'PYTHONPATH': os.pathsep.join(path for path in paths if path),
        'PYTHONPYCACHEPREFIX': str(room / 'bytecode'),
    }
    for name in ('JAX_COMPILATION_CACHE_DIR', 'PYTHONDONTWRITEBYTECODE'):
        environment.pop(name, None)
    return environment


def import_seconds(what: str, room: pathlib.Path) -> tuple[float, float]:
    """What importing takes in a fresh process, after the libraries; and of all cores."""
    code = f'{LIBRARIES}; {TIMED_IMPORT.format(what)}'
    command, environment = [sys.executable, '-c', code], environment_of(room)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    clock, cores = json.loads(done.stdout)
    return clock, cores


CONFIG = """
from ftjax.config import template

def get_config():
    return template(
        init='',
        model={vit!r},
        data={{'source': 'folder:{images}', 'batch_size': {batch}, 'eval_batch_size': {batch}}},
        optimizer={{'learning_rate': 1e-3}},
        train={{'steps': 1, 'steps_per_call': 1, 'cache': 'off'}},
    )
"""
