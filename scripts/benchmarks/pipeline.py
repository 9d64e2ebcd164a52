"""The input pipeline alone, and what it adds to the steps that it feeds."""

from __future__ import annotations

import dataclasses
import io
import itertools
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

IMAGE, BATCH, EXAMPLES = 224, 16, 128
JPEG = (375, 500)
SIZES = {'patch_size': 16, 'width': 192, 'depth': 12, 'heads': 3}
KINDS = ('arrays in memory', 'folder of JPEG files', 'TFDS array_record')
CAPTION = (
    f'What input costs: ViT of 12 blocks, width 192, {IMAGE} px, batch {BATCH}, full fine-tuning; '
    f'JPEG images of {JPEG[1]} x {JPEG[0]} pixels, decoded in the first epoch and kept. Ratio: '
    'seconds of a step on one batch that lies in memory over those of a step with its pipeline, '
    'in turn; spread: quartiles. Alone: milliseconds a batch with nothing else running. Waiting: '
    'the share of the time in which the loop waits for a batch.'
)
COMMAND = 'python scripts/benchmark.py pipeline'


def run(folder: pathlib.Path, epochs: int = 2) -> list[dict[str, Any]]:
    """Writes pipeline.json and pipeline.md: a row a kind of data, for the first epoch and later."""
    import jax
    from benchmarks import tables
    from benchmarks.fit_steps import FitSteps

    from ftjax.data import DataSettings, TrainStream, load_data
    from ftjax.io.process.progress import Progress
    from ftjax.models.registry import build
    from ftjax.preprocessing.images import Preprocessing

    network = build('vit', {'image_size': IMAGE, 'num_classes': 2, **SIZES})
    variables = jax.jit(network.init)(jax.random.key(0), network.example_input())
    preprocessing = Preprocessing(image_size=(IMAGE, IMAGE))
    rows = []
    with tempfile.TemporaryDirectory() as name, Progress(len(KINDS), 'pipeline') as bar:
        made = sources(pathlib.Path(name))
        for done, kind in enumerate(KINDS, 1):
            data = load_data(DataSettings(source=made[kind](), val_fraction=0.1, test_fraction=0.1))
            stream = TrainStream(data.train, BATCH, 0, preprocessing=preprocessing)
            first, later = alone(stream)
            side = FitSteps(network, variables, 'full', data, preprocessing, BATCH, longest=1)
            times = in_turn(side, stream.steps_per_epoch, epochs)
            rows.append(row_of(f'{kind}, first epoch', first, times[0]))
            later_times = [step for epoch in times[1:] for step in epoch]
            rows.append(row_of(f'{kind}, later', later, later_times))
            bar.update(done, {})
    tables.write(folder, 'pipeline', rows, CAPTION, COMMAND)
    return rows


def sources(folder: pathlib.Path) -> dict[str, Callable[[], str]]:
    """What makes the data of each kind, and names it as data.source."""
    makers = (arrays, files, records)
    return {kind: partial(make, folder) for kind, make in zip(KINDS, makers, strict=True)}


def arrays(folder: pathlib.Path) -> str:
    """Images of the network's size, uint8."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (EXAMPLES, IMAGE, IMAGE, 3), np.uint8)
    np.savez(folder / 'arrays.npz', x=images, y=np.arange(EXAMPLES) % 2)
    return f'npz:{folder / "arrays.npz"}'


def files(folder: pathlib.Path) -> str:
    """A folder a class of JPEG files."""
    for number in range(EXAMPLES):
        place = folder / 'files' / f'class{number % 2}'
        place.mkdir(parents=True, exist_ok=True)
        (place / f'{number:04d}.jpg').write_bytes(jpeg(number))
    return f'folder:{folder / "files"}'


def records(folder: pathlib.Path) -> str:
    """The same images as a TFDS data set, prepared here without TensorFlow."""
    import tensorflow_datasets as tfds

    class FtjaxPipelineImages(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            features = tfds.features.FeaturesDict(
                {
                    'image': tfds.features.Image(shape=(None, None, 3), encoding_format='jpeg'),
                    'label': tfds.features.ClassLabel(names=['a', 'b']),
                }
            )
            return tfds.core.DatasetInfo(
                builder=self, features=features, supervised_keys=('image', 'label')
            )

        def _split_generators(self, download):
            del download
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for number in range(EXAMPLES):
                yield number, {'image': jpeg(number), 'label': number % 2}

    builder = FtjaxPipelineImages(data_dir=str(folder / 'tfds'), file_format='array_record')
    builder.download_and_prepare()
    return f'tfds:{builder.data_path}'


def jpeg(number: int) -> bytes:
    """A picture with as much detail as a photograph's, encoded."""
    from PIL import Image

    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (JPEG[0] // 5, JPEG[1] // 5, 3), np.uint8))
    encoded = io.BytesIO()
    coarse.resize(JPEG[::-1], Image.Resampling.BICUBIC).save(encoded, 'JPEG', quality=90)
    return encoded.getvalue()


def alone(stream: Any) -> tuple[float, float]:
    """Seconds a batch in the first epoch and in the second, with nothing else running."""
    batches, found = stream.iterate(), []
    for _ in range(2):
        began = time.perf_counter()
        for _ in range(stream.steps_per_epoch):
            next(batches)
        found.append((time.perf_counter() - began) / stream.steps_per_epoch)
    return found[0], found[1]


class Waiting:
    """An iterator that measures how long it is waited for."""

    def __init__(self, batches: Iterator[Any]):
        self.batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        began = time.perf_counter()
        batch = next(self.batches)
        self.seconds += time.perf_counter() - began
        return batch


def in_turn(side: Any, per_epoch: int, epochs: int) -> list[list[tuple[float, float, float]]]:
    """A list an epoch of (step with its pipeline, waiting in it, step on one batch), seconds."""
    stream = Waiting(side.source.batches)
    batch = {
        'inputs': np.zeros((BATCH, IMAGE, IMAGE, 3), np.uint8),
        'labels': np.arange(BATCH, dtype=np.int32) % 2,
        'mask': np.ones(BATCH, np.float32),
        'index': np.arange(BATCH, dtype=np.int32),
    }
    held = itertools.repeat(batch)
    fixed = dataclasses.replace(side.source, batches=held)
    fed = dataclasses.replace(side.source, batches=stream)
    side.source = fixed
    side.steps(2)  # compiles and warms up
    found = []
    for _ in range(epochs):
        epoch = []
        for _ in range(per_epoch):
            side.source, stream.seconds = fed, 0.0
            began = time.perf_counter()
            side.steps(1)
            with_pipeline, waited = time.perf_counter() - began, stream.seconds
            side.source = fixed
            began = time.perf_counter()
            side.steps(1)
            epoch.append((with_pipeline, waited, time.perf_counter() - began))
        found.append(epoch)
    return found


def row_of(name: str, batch_seconds: float, times: list[tuple[float, float, float]]) -> dict:
    """A row of the table."""
    fed, waited, fixed = np.array(times).T
    ratios = fixed / fed
    return {
        'row': name,
        'ratio': float(np.median(fixed) / np.median(fed)),
        'spread': [float(q) for q in np.quantile(ratios, (0.25, 0.75))],
        'target': 0.95,
        'alone_ms': 1e3 * batch_seconds,
        'step_ms': 1e3 * float(np.median(fed)),
        'waiting': float(waited.sum() / fed.sum()),
        'steps': len(times),
    }
