"""Weights and arrays: safetensors, npz and msgpack, and what reads them."""

from __future__ import annotations

import io
import json
import pathlib
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from fuzzing_inputs import bents

from ftjax.data.settings import DataSettings


def read_index(folder: pathlib.Path, text: str) -> None:
    """model.safetensors.index.json beside two shards."""
    from ftjax.pretrained.readers import open_source

    place = folder / 'shards'
    if not place.exists():
        place.mkdir()
        for shard, name in INDEX['weight_map'].items():
            (place / name).write_bytes(safetensors({shard: HEADER['a']}, bytes(8)))
    (place / 'model.safetensors.index.json').write_text(text)
    read_all(open_source(place / 'model.safetensors.index.json'))


INDEX = {
    'metadata': {'total_size': 16},
    'weight_map': {'a': 'x-1.safetensors', 'b': 'x-2.safetensors'},
}
HEADER = {
    'a': {'dtype': 'F32', 'shape': [1, 2], 'data_offsets': [0, 8]},
    'b': {'dtype': 'I64', 'shape': [], 'data_offsets': [8, 16]},
    '__metadata__': {'format': 'pt'},
}


def safetensors(header: Any, data: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack('<Q', len(text)) + text + data


def read_all(source: Any) -> None:
    """Every tensor of a source; none may be larger than the files of these tests."""
    for name in source.names:
        array = source.read(name)
        assert array.shape == tuple(source.shape(name)) and array.nbytes <= 2**16


def read_header(folder: pathlib.Path, text: str) -> None:
    """The header of a .safetensors file, whose data are whole."""
    read_weights('x.safetensors')(folder, safetensors(text, bytes(16)))


def safetensors_inputs(draw: random.Random) -> Iterator[bytes]:
    return bents([safetensors(HEADER, bytes(16))], draw)


def read_weights(name: str) -> Callable[[pathlib.Path, bytes], None]:
    """A file of weights as bytes."""

    def read(folder: pathlib.Path, data: bytes) -> None:
        from ftjax.pretrained.readers import open_source

        (folder / name).write_bytes(data)
        read_all(open_source(folder / name))

    return read


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npz_with(header: bytes, draw: random.Random) -> bytes:
    """An archive whose one array has a header of somebody's own."""
    file = io.BytesIO()
    kind = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(file, 'w', kind) as archive:
        length = len(header) if draw.random() < 0.9 else draw.choice((0, 1, 2**16 - 1))
        prefix = b'\x93NUMPY' + draw.choice((b'\1\0', b'\2\0', b'\3\0', b'\x09\0'))
        width = 2 if prefix[6] == 1 else 4
        text = prefix + min(length, 2**16 - 1).to_bytes(width, 'little') + header
        archive.writestr('x.npy', text + bytes(draw.choice((0, 8, 32))))
    return file.getvalue()


def npz_inputs(draw: random.Random) -> Iterator[bytes]:
    """Archives that are bent, or whose headers say something wrong."""
    whole = npz(x=np.zeros((2, 8, 8), np.uint8), y=np.array([0, 1]))
    descrs = ["'<f4'", "'|O'", "'<f9'", "'f4,f4'", "[('a', '<f4')]", "'V2'", "'U999999999'", '5']
    shapes = ['(2,)', '(2, 4)', '()', '(-1,)', '(2.5,)', f'({2**46},)', f'(0, {2**62})', '(9' * 9]
    shapes += [f'({"1," * 40})', f'({"9" * 5000},)', '[' * 5000, '-' * 5000 + '1', '(2, 4, "x")']
    while True:
        if draw.random() < 0.5:
            yield bent_zip(whole, draw)
            continue
        fields = zip(
            ('descr', 'fortran_order', 'shape'),
            (draw.choice(descrs), draw.choice(('False', 'True', '0')), draw.choice(shapes)),
            strict=True,
        )
        text = ', '.join(f"'{name}': {value}" for name, value in fields)
        yield npz_with(f'{{{text}, }}\n'.encode(), draw)


def bent_zip(whole: bytes, draw: random.Random) -> bytes:
    """Bent anywhere, or in one of the fields that describe a member."""
    data = bytearray(next(bents([whole], draw)) if draw.random() < 0.5 else whole)
    for magic, fields in ((b'PK\1\2', range(4, 46)), (b'PK\3\4', range(4, 30))):
        at = data.find(magic)
        if at >= 0 and at + 46 < len(data) and draw.random() < 0.7:
            field = draw.choice(fields)
            data[at + field] = draw.choice((0, 1, 8, 99, 0xFF, draw.randrange(256)))
    return bytes(data)


def read_npz_data(folder: pathlib.Path, data: bytes) -> None:
    """An .npz file as a data set."""
    from ftjax.data.load import read_source

    file = folder / 'data.npz'
    file.write_bytes(data)
    read_source(DataSettings(source=f'npz:{file}', test_fraction=0.5))


def msgpack_inputs(draw: random.Random) -> Iterator[bytes]:
    import flax

    nested = {'a': {'b': np.zeros((2, 2), np.float32), 'c': np.int64(3)}, 'd': np.arange(3)}
    whole = flax.serialization.msgpack_serialize(nested)
    yield from (b'\x81\xa1a' * 5000, b'\xdf\xff\xff\xff\xff', b'\xc9\xff\xff\xff\xff\1', b'')
    yield from bents([whole], draw)
