"""The inputs of a request: JSON, a form with files, or an image as it is, within limits."""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import numpy as np

from ftjax.data.images.dicom import is_dicom
from ftjax.errors import UserError, check_name, shown
from ftjax.io.json.json_reader import JsonLimits, parse_json
from ftjax.serving.bundle.input_measures import characters_of
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.server_settings import ServerSettings

if TYPE_CHECKING:
    from fastapi import Request

FIELDS = ('inputs', 'nearest', 'outputs')
ENCODED = 'application/x-www-form-urlencoded'
NEAREST = 20
LARGE = 2**16
"""Bytes of JSON from which on it is read in a thread: meanwhile others are answered."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    inputs: tuple[Any, ...]
    """As a bundle's reader takes them."""
    nearest: int = 0
    """Reference examples of the smallest distance to be named for each."""
    outputs: bool = False
    """Whether logits, or values, are wanted as well."""


async def asked_of(request: Request, takes: str, settings: ServerSettings) -> Asked:
    """Reads a request.

    Args:
      request: of /v1/predict.
      takes: `images`, `texts` or `table`.
      settings: with the limits.

    Raises:
      Refusal: of a kind that is not taken, beyond the limits, or not what it says.
    """
    kind = request.headers.get('content-type', '').partition(';')[0].strip().lower()
    if kind == 'application/json':
        body = await request.body()
        if len(body) < LARGE:
            asked = _of_json(body, takes, settings)
        else:
            asked = await asyncio.to_thread(_of_json, body, takes, settings)
    elif kind in ('multipart/form-data', ENCODED):
        asked = await _of_form(request, kind, takes, settings)
    elif kind.startswith('image/') or kind == 'application/octet-stream':
        if takes != 'images':
            raise Refusal(415, f'the network takes {takes}, and the request is {kind}')
        asked = Asked((await request.body(),))
    else:
        raise Refusal(
            415,
            f'content type {shown(kind)}; expected application/json, multipart/form-data or '
            'image/*',
        )
    if not asked.inputs:
        raise Refusal(422, 'there are no inputs')
    if len(asked.inputs) > settings.max_inputs:
        raise Refusal(
            413, f'{len(asked.inputs)} inputs; expected at most {settings.max_inputs} a request'
        )
    for number, raw in enumerate(asked.inputs):
        _check_input(number, raw, takes, settings)
    return asked


def _of_json(body: bytes, takes: str, settings: ServerSettings) -> Asked:
    limits = JsonLimits(size=settings.max_bytes, depth=8, duplicates=False)
    try:
        found = parse_json(body, 'the request', limits)
        if not isinstance(found, dict):
            raise UserError('the request is no JSON object; expected {"inputs": [..]}')
        for name in found:
            check_name(name, FIELDS, 'field of the request')
    except UserError as error:
        raise Refusal(422, str(error)) from None
    inputs, nearest = found.get('inputs'), found.get('nearest', 0)
    if not isinstance(inputs, list):
        raise Refusal(422, f'inputs is {shown(inputs)}; expected a list')
    if isinstance(nearest, bool) or not isinstance(nearest, int) or not 0 <= nearest <= NEAREST:
        raise Refusal(422, f'nearest is {shown(nearest)}; expected 0 to {NEAREST}')
    if not isinstance(found.get('outputs', False), bool):
        raise Refusal(422, f'outputs is {shown(found["outputs"])}; expected true or false')
    if takes == 'images':
        inputs = [_image(number, raw) for number, raw in enumerate(inputs)]
    return Asked(tuple(inputs), nearest, found.get('outputs', False))


def _image(number: int, raw: Any) -> bytes | np.ndarray:
    """{"image": base64 of a file}, or {"pixels": numbers from 0 to 255, by row and column}."""
    expected = 'expected {"image": base64 of a file} or {"pixels": [[..]]}'
    if not isinstance(raw, Mapping) or len(raw) != 1:
        raise Refusal(422, f'an input is {shown(raw)}; {expected}', number)
    if 'image' in raw:
        try:
            return base64.b64decode(raw['image'], validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise Refusal(422, 'image is no base64', number) from None
    if 'pixels' not in raw:
        raise Refusal(422, f'an input is {shown(raw)}; {expected}', number)
    try:
        pixels = np.asarray(raw['pixels'])
    except ValueError:
        pixels = np.zeros(0)
    # Among numbers NumPy takes true for 1.
    numbers = pixels.dtype.kind in 'iu' and not _holds_truth(raw['pixels'])
    whole = numbers and pixels.ndim in (2, 3) and pixels.size
    if not whole or pixels.min() < 0 or pixels.max() > 255:
        raise Refusal(
            422, 'pixels are no whole numbers from 0 to 255 by row, column (and channel)', number
        )
    return pixels.astype(np.uint8)


def _holds_truth(value: Any) -> bool:
    """Whether true or false stands anywhere in nested lists."""
    kinds = set(map(type, value)) if isinstance(value, list) else {type(value)}
    return bool in kinds or (list in kinds and any(map(_holds_truth, value)))


async def _of_form(request: Request, kind: str, takes: str, settings: ServerSettings) -> Asked:
    """Files of images, or fields named `text`; a part that is neither is refused, not left out."""
    if takes == 'texts':
        # Other bytes would become other letters without a word.
        body = await request.body()
        if kind == ENCODED:  # in multipart a percent sign stands for itself
            body = unquote_to_bytes(body)
        try:
            body.decode()
        except UnicodeDecodeError:
            raise Refusal(422, 'the form is no UTF-8 text') from None
    most = settings.max_inputs + 1  # one more, to be able to say that it is too many
    async with request.form(max_files=most, max_fields=most, max_part_size=2**20) as form:
        parts = form.multi_items()
        if takes == 'images':
            _check_parts(parts, [isinstance(v, str) for _, v in parts], 'files of images')
            files = [value for _, value in parts if not isinstance(value, str)]
            return Asked(tuple([await file.read() for file in files]))
        if takes == 'texts':
            wrong = [n != 'text' or not isinstance(v, str) for n, v in parts]
            _check_parts(parts, wrong, 'fields named text')
            return Asked(tuple(value for _, value in parts if isinstance(value, str)))
    raise Refusal(415, 'rows of a table are sent as application/json')


def _check_parts(parts: list[tuple[str, Any]], wrong: list[bool], expected: str) -> None:
    """Refusal that names the first part of a form that is not what is expected."""
    name = next((n for (n, _), bad in zip(parts, wrong, strict=True) if bad), None)
    if name is not None:
        raise Refusal(
            422,
            f'the form has a part {shown(name)}; expected {expected} alone: what else is asked for '
            'is sent as application/json',
        )


def _check_input(number: int, raw: Any, takes: str, settings: ServerSettings) -> None:
    if isinstance(raw, bytes) and is_dicom(raw[:132]):
        raise Refusal(415, 'DICOM files are not taken: send a PNG or JPEG', number)
    if takes == 'texts':
        size = max(characters_of(raw), _parts(raw))
        if size > settings.max_characters:
            raise Refusal(
                413, f'{size} characters; at most {settings.max_characters} are taken', number
            )


def _parts(raw: Any) -> int:
    """How many values there are in one, however deep; an empty list is one."""
    parts = raw.values() if isinstance(raw, Mapping) else raw if isinstance(raw, list) else ()
    return max(1, sum(map(_parts, parts)))
