"""Two networks to serve, with random weights: what they answer changes no cost."""

from __future__ import annotations

import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

TITLES = {
    'vit': 'ViT-Ti/16, 224 x 224 pixels, 5.5 M weights',
    'bert': 'BERT of MiniLM size, 6 layers of 384, up to 64 tokens',
}


def made_folders(name: str, folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """(bundle, folder of transformers) of a network; made where they are not there yet."""
    from ftjax.export.weights import export_weights
    from ftjax.serving.making.write_bundle import write_bundle

    run, bundle, other = (folder / name / part for part in ('run', 'bundle', 'hf'))
    if not other.exists():
        _run(name, folder).fit(run, progress=False)
        write_bundle(run, bundle)
        export_weights(str(run), str(other))
    return bundle, other


def _run(name: str, folder: pathlib.Path) -> Any:
    from ftjax.api import finetune

    if name == 'vit':
        rng, path = np.random.default_rng(0), folder / 'noise.npz'
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (40, 224, 224, 3), np.uint8)
        np.savez(path, x=pixels, y=np.arange(40) % 10)
        sizes = {'image_size': 224, 'patch_size': 16, 'width': 192, 'depth': 12, 'heads': 3}
        return finetune(
            '',
            f'npz:{path}',
            freeze='head',
            model={'name': 'vit', 'pool': 'cls', **sizes},
            train={'steps': 1},
            data_settings={'batch_size': 4, 'eval_batch_size': 8},
        )
    return finetune(
        'random:docstrings',
        'docstrings',
        freeze='head',
        model={'width': 384, 'depth': 6, 'heads': 12, 'mlp_dim': 1536, 'pool': 'pooler'},
        train={'steps': 1},
        data_settings={
            'examples_per_class': 8,
            'val_per_class': 8,
            'test_per_class': 16,
            'batch_size': 8,
            'eval_batch_size': 16,
        },
    )


def requests_of(bundle: Any, goldens: Any) -> tuple[list[tuple[bytes, str]], Sequence[Any]]:
    """((body, content type) of a golden each, the answers that the bundle gives to them)."""
    from ftjax.serving.bundle.answer_rows import answer_rows

    if goldens.raw:
        bodies = [json.dumps({'inputs': [raw]}).encode() for raw in goldens.raw]
        made = [(body, 'application/json') for body in bodies]
    else:
        made = [(_png(image), 'image/png') for image in goldens.inputs['images']]
    return made, answer_rows(goldens.outputs, bundle.signature)


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, 'png')
    return file.getvalue()


def wrong_answers(answered: Any, expected: Sequence[Any], allowed: float = 1e-5) -> int:
    """Answers that are no 200, or have a probability off by more than allowed."""
    wrong = 0
    for at, status, body in answered.bodies:
        if status != 200:
            wrong += 1
            continue
        (row,) = json.loads(body)['predictions']
        right = expected[at]
        if 'probabilities' in right:
            pairs = [(row['probabilities'][n], p) for n, p in right['probabilities'].items()]
        else:
            pairs = list(zip(np.ravel(row['predicted']), np.ravel(right['predicted']), strict=True))
        wrong += not np.allclose(*zip(*pairs, strict=True), rtol=0, atol=allowed)
    return wrong
