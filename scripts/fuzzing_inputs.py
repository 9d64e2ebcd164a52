"""Inputs that are wrong: every value at every place of a JSON file, and bytes that are bent."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import random
from collections.abc import Callable, Iterator
from typing import Any

_DEEP = 10_000
# Values that are put in the place of others. A text that begins with @@ stands for raw JSON.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2.5, 1e-300, 10**9, 10**12, 2**63 - 1),
    *('@@1e999', '@@-1e999', '@@NaN', '@@-Infinity', '@@' + '9' * 30, '@@' + '9' * 5000),
    *('', 'abc', '1e-12', '../../etc/passwd', '/dev/zero', 'x' * 10_000, 'a\nb\x1b[31m', '\ud800'),
    *([], [1], [1, 2], [2.5, None], ['abc'], {}, {'a': 1}, {'height': None}),
    *('@@' + '[' * _DEEP + ']' * _DEEP, '@@' + '{"a":' * _DEEP + '1' + '}' * _DEEP),
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of file: inputs that differ, how to write them, and what reads them."""

    name: str
    inputs: Callable[[random.Random], Iterator[Any]]
    read: Callable[[pathlib.Path, Any], Any]
    """(folder, input): writes the input there and reads it as the library does."""
    share: float = 1.0
    """Of inputs that the others get; less where each takes long."""
    slow: bool = False
    """Whether one input takes about a second, so that the quick tests leave it out."""


def places(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of all nodes of a JSON value, the top included."""
    yield path
    if isinstance(tree, (dict, list)):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from places(tree[key], (*path, key))


def changed(tree: Any, path: tuple, value: Any, remove: bool = False) -> Any:
    """A JSON value with the node at a path replaced or removed; nothing else is copied."""
    if not path:
        return value
    made = dict(tree) if isinstance(tree, dict) else list(tree)
    if len(path) == 1 and remove:
        del made[path[0]]
    else:
        made[path[0]] = changed(tree[path[0]], path[1:], value, remove)
    return made


def edits(trees: list[Any], draw: random.Random) -> Iterator[str]:
    """JSON texts: every value at every place of every tree, then two or three at once."""
    single = [
        (tree, path, value)
        for tree in trees
        for path in places(tree)
        for value in (*VALUES, 'removed')
    ]
    draw.shuffle(single)
    for tree, path, value in single:
        remove = value == 'removed' and bool(path)
        yield as_text(changed(tree, path, value, remove))
    while True:
        tree = draw.choice(trees)
        for _ in range(draw.randint(2, 3)):
            path = draw.choice(list(places(tree)))
            tree = changed(tree, path, draw.choice(VALUES), bool(path) and draw.random() < 0.2)
        yield as_text(tree)


def as_text(tree: Any) -> str:
    """JSON, with what raw texts stand for put in."""
    text = json.dumps(tree)
    for value in VALUES:
        if isinstance(value, str) and value.startswith('@@'):
            text = text.replace(json.dumps(value), value[2:])
    return text


def bent(data: bytes, draw: random.Random) -> bytes:
    """Bytes with some of them turned over, taken away, put in, or cut off."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        at = draw.randrange(len(made) + 1)
        match draw.randrange(5):
            case 0 | 1 if at < len(made):
                made[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            case 2:
                del made[at : at + draw.choice((1, 4, 100))]
            case 3:
                made[at:at] = draw.choice((b'\0', b'[' * 5000, b'\xff' * 8, draw.randbytes(4)))
            case 4:
                del made[at:]
    return bytes(made)


def bents(datas: list[bytes], draw: random.Random) -> Iterator[bytes]:
    while True:
        yield bent(draw.choice(datas), draw)
