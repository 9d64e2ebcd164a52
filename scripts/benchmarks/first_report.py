"""From a folder of photographs to report.html: four lines of Python, in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent.parent
LINES = """import ftjax
run = ftjax.finetune({init!r}, {source!r}, freeze='last:2')
run.fit({workdir!r})
print(run.report())
"""
SHIPPED, LARGER = 'glyphs', 'data:resnet26_gn_cifar10'
SIDE, COUNT = 256, 200
CAPTION = (
    'Seconds from the start of Python to report.html, four lines: import, '
    "`finetune(WEIGHTS, 'folder:PHOTOS', freeze='last:2')`, `fit(FOLDER)`, `report()`, all else at "
    'its default, with empty caches. Photographs: {photos}. Ratio: target over median; spread: '
    'least and most of the repeats; core seconds: of all cores, which say more where the machine '
    'does something else beside. Accuracy: of the test split, that the report begins with.'
)
COMMAND = 'python scripts/benchmark.py first_report'


def run(folder: pathlib.Path, repeats: int = 3, target: float = 180.0) -> list[dict[str, Any]]:
    """Writes first_report.json and first_report.md.

    With the optional data folder (FTJAX_DATA) on its photographs, and with its weights too; without
    it on drawn pictures, with the shipped weights alone.
    """
    from benchmarks import tables

    from ftjax.pretrained.locate.locate import data_folder

    with tempfile.TemporaryDirectory() as name:
        room, known = pathlib.Path(name), data_folder() / 'hymenoptera'
        photos, inits = room / 'photos', [SHIPPED]
        if known.is_dir():
            photos = known
            inits += [LARGER] if (data_folder() / LARGER.partition(':')[2]).is_dir() else []
        else:
            draw_photos(photos)
        count = sum(1 for _ in photos.rglob('*.jpg'))
        rows = []
        for init in inits:
            seen: list[tuple[float, float]] = []
            accuracy = None
            for number in range(repeats):
                seconds, accuracy = report_of(init, photos, room / f'{len(rows)}_{number}')
                seen.append(seconds)
            clock, cores = zip(*seen, strict=True)
            rows.append(
                {
                    'row': init,
                    'seconds': statistics.median(clock),
                    'spread': [min(clock), max(clock)],
                    'target_seconds': target,
                    'core_seconds': statistics.median(cores),
                    'ratio': target / statistics.median(clock),
                    'target': 1.0,
                    'accuracy': accuracy,
                    'repeats': repeats,
                }
            )
    said = f'{count} of ants and bees' if known.is_dir() else f'{count} drawn ones of {SIDE} px'
    tables.write(folder, 'first_report', rows, CAPTION.format(photos=said), COMMAND)
    return rows


def report_of(
    init: str, photos: pathlib.Path, room: pathlib.Path
) -> tuple[tuple[float, float], float]:
    """((seconds, seconds of all cores), accuracy) of one fresh process; its report is there."""
    work = room / 'run'
    code = LINES.format(init=init, source=f'folder:{photos}', workdir=str(work))
    environment = os.environ | {'FTJAX_CACHE': str(room / 'cache'), 'PYTHONPATH': str(ROOT)}
    environment.pop('JAX_COMPILATION_CACHE_DIR', None)
    before = used()
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, '-c', code], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    seconds = time.perf_counter() - began
    page = work / 'report.html'
    if done.returncode or done.stdout.strip() != str(page) or not page.stat().st_size:
        raise RuntimeError(f'the four lines ended with {done.returncode}: {done.stderr[-2000:]}')
    result = json.loads((work / 'result.json').read_text('utf-8'))
    return (seconds, used() - before), result['metrics']['accuracy']


def used() -> float:
    """Seconds of all cores that finished child processes have used."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def draw_photos(folder: pathlib.Path) -> None:
    """Two classes of JPEG files: stripes that lie, and stripes that stand, in noise."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    wave = 60 * np.sin(np.arange(SIDE) / 6)
    for number in range(2 * COUNT):
        stripes = wave[:, None] if number % 2 else wave[None, :]
        pixels = 128 + stripes[..., None] + draw.normal(0, 40, (SIDE, SIDE, 3))
        place = folder / ('lying' if number % 2 else 'standing')
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(place / f'{number:03d}.jpg', quality=85)
