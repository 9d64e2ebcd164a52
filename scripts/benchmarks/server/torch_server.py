"""The other side: FastAPI and PyTorch in eager mode, as most guides to serving put them together.

    python scripts/benchmarks/server/torch_server.py FOLDER PORT THREADS

FOLDER is what `scripts/export.py --format=hf` wrote: the same weights, by our own conversion. One
request is one call of the model, in a thread beside the event loop. It takes and gives what our
server does: an image file, or JSON with texts; probabilities by class. Of what a server must
refuse it knows nothing.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import sys
from typing import Any

# Threads that wait by spinning take the cores from the clients. Read at import.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

import fastapi
import numpy as np
import orjson
import torch
import uvicorn
from fastapi.concurrency import run_in_threadpool


class Images:
    """An image classifier of transformers, and its preprocessing for files of the right size."""

    def __init__(self, folder: pathlib.Path):
        from transformers import AutoModelForImageClassification

        self.model = AutoModelForImageClassification.from_pretrained(folder).eval()
        told = json.loads((folder / 'preprocessor_config.json').read_text())
        self.scale = told['rescale_factor']
        self.mean, self.std = (np.float32(told[key]) for key in ('image_mean', 'image_std'))

    def inputs(self, body: bytes) -> dict[str, Any]:
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(body)), np.float32)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        made = (pixels * np.float32(self.scale) - self.mean) / self.std
        return {'pixel_values': torch.from_numpy(made.transpose(2, 0, 1)[None].copy())}


class Texts:
    """A text classifier of transformers, and its tokenizer."""

    def __init__(self, folder: pathlib.Path):
        from tokenizers import Tokenizer
        from transformers import AutoModelForSequenceClassification

        self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / 'tokenizer.json'))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.model.config.max_position_embeddings)

    def inputs(self, body: bytes) -> dict[str, Any]:
        (text,) = orjson.loads(body)['inputs']
        found = self.tokenizer.encode(text)
        rows = {'input_ids': found.ids, 'token_type_ids': found.type_ids}
        return {name: torch.tensor([row]) for name, row in rows.items()}


def app_of(folder: pathlib.Path) -> fastapi.FastAPI:
    """The application."""
    images = (folder / 'preprocessor_config.json').exists()
    side = Images(folder) if images else Texts(folder)
    names = [side.model.config.id2label[at] for at in range(side.model.config.num_labels)]
    app = fastapi.FastAPI()

    def answer(body: bytes) -> dict[str, Any]:
        with torch.inference_mode():
            logits = side.model(**side.inputs(body)).logits[0]
            probabilities = logits.double().softmax(-1).tolist()
        best = max(range(len(names)), key=probabilities.__getitem__)
        row = {'predicted': names[best], 'probability': probabilities[best]}
        return row | {'probabilities': dict(zip(names, probabilities, strict=True))}

    @app.post('/v1/predict')
    async def predict(request: fastapi.Request) -> fastapi.Response:
        row = await run_in_threadpool(answer, await request.body())
        return fastapi.Response(orjson.dumps({'predictions': [row]}), media_type='application/json')

    @app.get('/readyz')
    async def readyz() -> dict[str, str]:
        return {'status': 'ready'}

    return app


# FastAPI reads annotations by name; those above are of names that this module has.
if __name__ == '__main__':
    torch.set_num_threads(int(sys.argv[3]))
    uvicorn.run(
        app_of(pathlib.Path(sys.argv[1])),
        port=int(sys.argv[2]),
        log_level='error',
        access_log=False,
    )
