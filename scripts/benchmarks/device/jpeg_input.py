"""A folder of JPEG files at 224 px: whether the device waits for its images."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from benchmarks.device.report import Section
from benchmarks.device.vision_steps import FULL, TINY


def run(section: Section, tiny: bool) -> None:
    """Steps of `head` and `full` while files are decoded, and from memory afterwards."""
    import jax
    from benchmarks.device.vision_steps import made
    from benchmarks.fit_steps import FitSteps
    from benchmarks.pipeline import jpeg

    from ftjax.data import DataSettings, load_data
    from ftjax.xla import program_cache

    sizes, examples, batch = (TINY, 64, 8) if tiny else (FULL, 2560, 128)
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for label in ('a', 'b'):
            (root / label).mkdir()
        few = [jpeg(number) for number in range(16)]  # as many pictures as show what decoding costs

        def write(number: int) -> None:
            (root / 'ab'[number % 2] / f'{number:05d}.jpg').write_bytes(few[number % 16])

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(write, range(examples)))
        data = load_data(
            DataSettings(source=f'folder:{root}', val_fraction=0.05, test_fraction=0.05)
        )
        for strategy in ('head', 'full'):
            network, variables, _, preprocessing = made(sizes, 1)
            side = FitSteps(network, variables, strategy, data, preprocessing, batch, longest=4)
            calls = max(1, len(data.train) // batch // side.chunk)
            waits = Waits(side.source.batches)
            side.source = dataclasses.replace(side.source, batches=waits)
            side.call()  # compiles
            found: dict[str, Any] = {}
            for epoch in ('first', 'later', 'last'):
                waits.seconds, began = 0.0, time.perf_counter()
                for _ in range(calls):
                    side.call()
                took = time.perf_counter() - began
                found[f'{epoch}_images_a_second'] = calls * side.chunk * batch / took
                found[f'{epoch}_waiting_share'] = waits.seconds / took
            alone = device_alone(side)
            found['device_images_a_second'] = batch / alone
            section.row(row=f'JPEG folder, ViT-B/16 {strategy}', kind='input', **found)
            del side
            program_cache._PROGRAMS.clear()
            jax.clear_caches()


class Waits:
    """An iterator that counts the seconds in which the loop waits for it."""

    def __init__(self, batches: Any):
        self.batches, self.seconds = batches, 0.0

    def __iter__(self) -> Waits:
        return self

    def __next__(self) -> Any:
        began = time.perf_counter()
        batch = next(self.batches)
        self.seconds += time.perf_counter() - began
        return batch


def device_alone(side: Any) -> float:
    """Seconds of a step on batches that lie on the device."""
    from ftjax.data.text.stacked_batches import stacked
    from ftjax.training.loop.step_runner import model_inputs

    phase_state, count = side.phase_state, side.chunk
    group = [next(side.source.batches) for _ in range(count)]
    rates = np.full((count, len(phase_state.phase.trainable)), 1e-3, np.float32)
    batch = stacked([model_inputs(one) for one in group], phase_state.spec.preprocessing)
    placed = phase_state.sharding.batch(batch, axis=1, size=len(group[0]['index']))
    rest = (phase_state.frozen, placed, *phase_state.sharding.copied((rates, np.int32(0))))
    times = []
    for _ in range(6):
        began = time.perf_counter()
        phase_state.state, metrics = side.known.call(phase_state.state, *rest)
        np.asarray(metrics['loss'])
        times.append((time.perf_counter() - began) / count)
    return float(np.median(times[1:]))
