"""The API for people (/docs) and for programs (/openapi.json), with an example that works."""

from __future__ import annotations

import base64
import io
import json
import shlex
from typing import Any

import numpy as np

from ftjax.pages.elements import lines, paragraph, section
from ftjax.pages.page import page
from ftjax.printable import in_html
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.server.refusal import WORDS

_SMALL = 64 * 64
"""Pixels of a golden image that is shown as an example; a drawn one stands for larger ones."""

_ASKS = {
    'images': 'each input {"image": base64 of a file} or {"pixels": rows of numbers from 0 to '
    '255}; or files in a form (curl -F image=@a.png -F image=@b.png); or one file as the body '
    '(curl --data-binary @a.png -H "Content-Type: image/png")',
    'texts': 'each input a text, or a pair of texts [first, second]; or fields named text in '
    'a form (curl -F text=..)',
    'table': 'each input an object with a value a column; null for a gap',
}


def example_of(bundle: Bundle, raw: tuple[Any, ...], inputs: dict[str, np.ndarray]) -> Any:
    """The body of a request that this bundle answers.

    Args:
      bundle: whose inputs are wanted.
      raw, inputs: of its goldens.
    """
    if raw:
        return {'inputs': [raw[0]], 'nearest': 2}
    return {'inputs': [{'image': base64.b64encode(_png(inputs['images'][0])).decode()}]}


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    if image.shape[0] * image.shape[1] > _SMALL or image.shape[2] not in (1, 3):
        image = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))[..., None]
    if image.dtype != np.uint8:
        image = np.rint(image * 255).astype(np.uint8)
    made = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(made, 'png')
    return made.getvalue()


def openapi_of_predict(example: Any) -> dict[str, Any]:
    """What OpenAPI says of /v1/predict: bodies, answers, errors."""
    bodies = {
        'application/json': {
            'schema': {
                'type': 'object',
                'required': ['inputs'],
                'additionalProperties': False,
                'properties': {
                    'inputs': {'type': 'array', 'minItems': 1, 'items': {}},
                    'nearest': {'type': 'integer', 'minimum': 0, 'maximum': 20, 'default': 0},
                    'outputs': {'type': 'boolean', 'default': False},
                },
            },
            'example': example,
        },
        'multipart/form-data': {
            'schema': {
                'type': 'object',
                'properties': {
                    'image': {'type': 'array', 'items': {'type': 'string', 'format': 'binary'}},
                    'text': {'type': 'array', 'items': {'type': 'string'}},
                },
            }
        },
        'image/*': {'schema': {'type': 'string', 'format': 'binary'}},
    }
    error = {
        'type': 'object',
        'properties': {
            'error': {
                'type': 'object',
                'properties': {
                    **{name: {'type': 'string'} for name in ('code', 'message', 'request_id')},
                    'input': {'type': 'integer', 'description': 'which input, from 0'},
                },
            }
        },
    }
    refusals = {
        str(status): {
            'description': word.replace('_', ' '),
            'content': {'application/json': {'schema': error}},
        }
        for status, word in WORDS.items()
        if status not in (404, 405)
    }
    return {'requestBody': {'required': True, 'content': bodies}, 'responses': refusals}


def curl_of(base: str, example: Any, token: bool) -> str:
    """A command for a shell that sends the example."""
    words = ['curl', '-s', f'{base}v1/predict', '-H', 'Content-Type: application/json']
    words += ['-d', json.dumps(example)]
    return shlex.join(words) + (' -H "Authorization: Bearer $FTJAX_TOKEN"' if token else '')


def api_page(base: str, bundle: Bundle, example: Any, token: bool) -> str:
    """The page at /docs."""
    signature = bundle.signature
    inputs = bundle.form.asks or _ASKS[signature.takes]
    rows = [f'{status}  {word}' for status, word in WORDS.items()]
    return page(
        'API',
        [
            f'<h1>API of {in_html(bundle.folder.resolve().name)}</h1>',
            section(
                'POST /v1/predict',
                paragraph(inputs)
                + paragraph('nearest: so many reference examples; outputs: logits as well.')
                + lines(curl_of(base, example, token)),
            ),
            section(
                'GET',
                lines(
                    '/v1/models    what answers, and its version\n'
                    '/healthz      200 while the process lives\n'
                    '/readyz       200 when all programs are compiled and the goldens are right\n'
                    '/metrics      for Prometheus\n'
                    '/openapi.json this page for programs\n'
                    '/             to try it by hand'
                ),
            ),
            section(
                'Errors',
                paragraph('{"error": {"code", "message", "request_id", "input"}}')
                + lines('\n'.join(rows)),
            ),
        ],
    )
