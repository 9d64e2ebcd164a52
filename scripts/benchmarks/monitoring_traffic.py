"""A bundle, and what its program gives for digits as they are and changed."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np

WIDTH = 16


def made_bundle(folder: pathlib.Path) -> Any:
    """A small ViT fine-tuned on ten digits a class, exported and loaded."""
    from ftjax import serving
    from ftjax.api import finetune
    from ftjax.serving.making.write_bundle import write_bundle

    run = finetune(
        'glyphs',
        'digits:scattered',
        freeze='last:2',
        data={'examples_per_class': 10, 'val_per_class': 20, 'batch_size': 25},
        optimizer={'learning_rate': 1e-3},
        train={'epochs': 24.0},
    )
    run.fit(folder / 'run', progress=False)
    return serving.load(write_bundle(folder / 'run', folder / 'bundle'))


def changed_rows(bundle: Any, seed: int) -> dict[str, Any]:
    """Rows of the digits of the test split by change; `no change` is one of them."""
    from ftjax.data import DataSettings, load_data

    data = load_data(DataSettings(source='digits:scattered')).test
    pixels, random = np.asarray(data.inputs), np.random.default_rng(seed)
    clean = rows_of(bundle, pixels)
    found = {'no change': clean}
    for deviation in (8, 16, 32):
        noise = random.normal(0, deviation, pixels.shape)
        noisy = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
        found[f'noise of {deviation} levels'] = rows_of(bundle, noisy)
    for levels in (4, 8, 16):
        bright = np.clip(pixels.astype(int) + levels, 0, 255).astype(np.uint8)
        found[f'{levels} levels brighter'] = rows_of(bundle, bright)
    labels = np.asarray(data.labels)
    for share in (0.15, 0.2, 0.3):
        own, others = np.flatnonzero(labels == 3), np.flatnonzero(labels != 3)
        count = round(share / (1 - share) * len(others))
        at = np.concatenate([others, own[np.arange(count) % len(own)]])
        found[f'class 3: {100 * share:.0f} % in place of 10 %'] = clean.take(at)
    return narrowed(found)


def narrowed(found: dict[str, Any]) -> dict[str, Any]:
    """The same with WIDTH principal components of the features: less to compute a week."""
    clean = found['no change'].features.astype(np.float64)
    mean = clean.mean(axis=0)
    _, _, axes = np.linalg.svd(clean - mean, full_matrices=False)
    return {
        name: dataclasses.replace(
            rows, features=((rows.features - mean) @ axes[:WIDTH].T).astype(np.float32)
        )
        for name, rows in found.items()
    }


def rows_of(bundle: Any, pixels: np.ndarray) -> Any:
    """What a server would keep of images (n, H, W, C)."""
    from ftjax.serving.bundle.answer_forms.class_answers import told_outputs
    from ftjax.serving.bundle.input_measures import measured
    from ftjax.serving.bundle.input_rows import InputRows
    from ftjax.serving.monitoring.sketch import answered
    from ftjax.serving.monitoring.traffic_rows import Rows

    found, parts = bundle.run({'images': pixels}), []
    told = told_outputs(found.outputs, bundle.signature)
    for one, short, features in zip(pixels, told, found.features, strict=True):
        measures = measured(bundle.reader, one, InputRows(({'images': one},)))
        parts.append(answered(bundle.signature, '', short, features, measures))
    return Rows(
        np.stack([one.features for one in parts]),
        np.array([one.value for one in parts], np.float32),
        np.array([one.best for one in parts], np.int32),
        np.stack([one.measures for one in parts]),
    )
