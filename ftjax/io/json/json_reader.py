"""JSON from outside, read within limits: size, depth, finite numbers, integers of 64 bits.

Whatever a file holds, the reader ends in a value or in one `UserError` that names the place.
`ftjax.io.json.json_values` then checks what the values are.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ftjax.errors import UserError, shown
from ftjax.io.files.owned_files import check_way
from ftjax.io.files.regular_files import read_bytes

_LONE = re.compile(r'\\u[dD][89a-fA-F]')  # how JSON writes half of a character


@dataclasses.dataclass(frozen=True)
class JsonLimits:
    """How large a JSON text may be and which values it may hold."""

    size: int = 256 * 2**20
    """Bytes."""
    depth: int = 100
    """Brackets within brackets."""
    non_finite: bool = False
    """Whether NaN and infinities are allowed, for a reader that checks them itself."""
    digits: int = 19
    """Of the longest integer; with 19, those of 64 bits."""
    duplicates: bool = True
    """Whether an object may name a key twice; the last counts."""


LIMITS = JsonLimits()
WIDE = JsonLimits(digits=400)
"""For what we wrote ourselves: the state of a random generator has integers of 128 bits."""
LENIENT = JsonLimits(non_finite=True)
"""For files whose fields are not all ours: only those that are read have to be finite."""


def read_json(path: str | os.PathLike[str], limits: JsonLimits = LIMITS) -> Any:
    """The value in a JSON file.

    Raises:
      UserError: no such file; a link out of the run's folder; not JSON (the line is named);
        beyond the limits.
    """
    check_way(path, itself=True)
    try:
        data = read_bytes(path, limits.size)
    except FileNotFoundError:
        raise UserError(f'no such file: {path}') from None
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{path} cannot be read: {reason}') from None
    return parse_json(data, str(path), limits)


def read_object(path: str | os.PathLike[str], limits: JsonLimits = LIMITS) -> dict[str, Any]:
    """The JSON object in a file; UserError where `read_json` raises it, or for another value."""
    value = read_json(path, limits)
    if not isinstance(value, dict):
        raise UserError(f'{path}: a JSON object expected, not {shown(value)}')
    return value


def parse_json(text: str | bytes, where: str, limits: JsonLimits = LIMITS) -> Any:
    """The value that a JSON text describes; `where` names the text in messages.

    Raises:
      UserError: it is not JSON, or beyond the limits.

    >>> parse_json('{"width": 1e999}', 'config.json')
    Traceback (most recent call last):
    ftjax.errors.UserError: config.json: width is inf; expected a finite number
    """
    if len(text) > limits.size:
        raise UserError(f'{where}: more than {limits.size} bytes of JSON')
    try:
        if isinstance(text, bytes):
            text = text.decode('utf-8-sig')
        value = json.loads(
            text,
            parse_int=functools.partial(_integer, digits=limits.digits),
            object_pairs_hook=None if limits.duplicates else _without_duplicates,
        )
    except UserError as error:
        raise UserError(f'{where}: {error}') from None
    except json.JSONDecodeError as error:
        line = f'line {error.lineno}: ' if '\n' in error.doc.rstrip() else ''
        raise UserError(f'{where} is not JSON: {line}{error.msg}') from None
    except UnicodeDecodeError:
        raise UserError(f'{where} is not JSON: it is not UTF-8 text') from None
    except RecursionError:
        raise _too_deep(where, limits) from None
    _check(value, where, limits, halves=_LONE.search(text) is not None)
    return value


def _integer(text: str, digits: int) -> int:
    if len(text.lstrip('-')) > digits:
        raise UserError(
            f'the number {shown(text)} has {len(text)} digits; expected at most {digits}'
        )
    return int(text)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise UserError(f'the key {shown(twice)} stands there twice')
    return made


def _too_deep(where: str, limits: JsonLimits) -> UserError:
    return UserError(f'{where}: JSON nested more than {limits.depth} deep')


def _check(top: object, where: str, limits: JsonLimits, halves: bool) -> None:
    """Walks a value without recursion; UserError names the path of what is refused."""
    stack: list[tuple[Any, int, Any]] = [((top,), 0, None)]
    while stack:
        node, depth, above = stack.pop()
        if depth > limits.depth:
            raise _too_deep(where, limits)
        pairs: Iterable = node.items() if isinstance(node, Mapping) else enumerate(node)
        for key, value in pairs:
            kind, problem = type(value), None
            if kind is dict or kind is list:
                stack.append((value, depth + 1, (above, key) if depth else None))
                continue
            if kind is float and not limits.non_finite and not math.isfinite(value):
                problem = f'is {value}; expected a finite number'
            elif kind is int and limits.digits == 19 and not -(2**63) <= value < 2**63:
                problem = f'is {value}; expected an integer of 64 bits'
            elif halves and (_is_half(value) or _is_half(key)):
                problem = 'holds half of a character (a lone surrogate), which is no text'
            if problem:
                path = _path((above, key) if depth else None)
                raise UserError(f'{where}: {path} {problem}')


def _is_half(text: object) -> bool:
    if not isinstance(text, str) or text.isascii():
        return False
    return any('\ud800' <= character <= '\udfff' for character in text)


def _path(link: Any) -> str:
    """`vision_config.depths[0]`, cut at its end where it is long."""
    parts: list[str] = []
    while link is not None:
        link, key = link
        plain = isinstance(key, str) and key.isascii() and key.isprintable()
        parts.append(f'[{key}]' if isinstance(key, int) else f'.{key if plain else ascii(key)}')
    text = ''.join(reversed(parts)).removeprefix('.') or 'the value'
    return text if len(text) <= 200 else f'{text[:200]}..'
