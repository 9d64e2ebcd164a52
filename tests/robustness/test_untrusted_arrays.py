"""Weights and arrays from outside: what a header promises is checked before anything is made."""

import io
import json
import os
import struct
import zipfile

import flax.serialization
import numpy as np
import pytest

from ftjax.data.load import read_source
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.io.files import npz_archive
from ftjax.io.files.npz_archive import NpzArchive
from ftjax.pretrained.readers import open_source
from ftjax.pretrained.run_checkpoint import RunSource
from ftjax.training.checkpoints.checkpoints import Checkpoints


def refusal(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert '\n' not in message and len(message) < 1000, message
    return message


def safetensors(path, header, data=bytes(16)):
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + data)
    return path


ROW = {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}


@pytest.mark.parametrize(
    'text, words',
    [
        ('[' * 10_000 + ']' * 10_000, 'nested'),
        ('{"x":' * 10_000 + '1' + '}' * 10_000, 'nested'),
        ('{"x": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 8]}}', 'inf'),
        ('{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1e999]}}', 'inf'),
        ('{"x": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}', 'nan'),
        ({'x': {**ROW, 'shape': [2.7]}}, "'x': shape is [2.7]"),
        ({'x': {**ROW, 'shape': [2.0]}}, "'x': shape is [2.0]"),
        ({'x': {**ROW, 'shape': ['2']}}, 'shape'),
        ({'x': {**ROW, 'shape': [True, 2]}}, 'shape'),
        ({'x': {**ROW, 'shape': [1] * 40}}, 'shape'),
        ({'x': {**ROW, 'shape': [0, 2**62], 'data_offsets': [0, 0]}}, 'does not fit'),
        ({'x': {**ROW, 'data_offsets': [0, 8.7]}}, 'data_offsets'),
        ({'x': {**ROW, 'data_offsets': [0, 8, 16]}}, 'data_offsets'),
        ({'x': {**ROW, 'dtype': 'f4,f4'}}, 'unknown dtype'),
        ({'x': {**ROW, 'dtype': ['F32']}}, 'dtype'),
        ({'x': [ROW]}, 'broken'),
        ({'x': ROW, '__metadata__': {'a': 5}}, '__metadata__'),
        ('{"x": %s, "x": %s}' % ((json.dumps(ROW),) * 2), 'twice'),
    ],
)
def test_a_forged_safetensors_header_is_one_line(tmp_path, text, words):
    message = refusal(open_source, safetensors(tmp_path / 'x.safetensors', text))
    assert words in message and 'x.safetensors' in message, message


@pytest.mark.parametrize(
    'text',
    [
        '[' * 10_000,
        '{"weight_map": []}',
        '{"weight_map": {"a": 5}}',
        '{"weight_map": {"a": "/etc/passwd.safetensors"}}',
        '{"weight_map": {"a": "%s.safetensors"}}' % ('x' * 9999),
        '{"weight_map": {"a": "x.safetensors", "a": "x.safetensors"}}',
        '{}',
    ],
)
def test_a_forged_index_is_one_line(tmp_path, text):
    safetensors(tmp_path / 'x.safetensors', {'a': ROW})
    file = tmp_path / 'model.safetensors.index.json'
    file.write_text(text)
    assert 'index.json' in refusal(open_source, file)


def npz_of(path, header, data=b'', kind=zipfile.ZIP_STORED, name='x.npy'):
    """An archive of one member with a header of somebody's own."""
    text = header if isinstance(header, bytes) else header.encode()
    member = b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text + data
    with zipfile.ZipFile(path, 'w', kind) as archive:
        archive.writestr(name, member)
    return path


def header(shape='(2,)', descr="'<f4'", order='False'):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    'text, words',
    [
        (header('[' * 5000), 'no shape'),
        (header('(' * 5000), 'no shape'),
        (header('-' * 5000 + '1'), 'no shape'),
        (header(f'({2**46},)'), 'has not the size it promises'),
        (header(f'({2**40}, {2**40})'), 'no shape'),
        (header(f'(0, {2**62 - 1})'), 'no shape'),
        (header('(-1,)'), 'no shape'),
        (header('(2.5,)'), 'no shape'),
        (header('(' + '1,' * 40 + ')'), 'no shape'),
        (header(descr="'|O'"), 'Python objects'),
        (header(descr="'f4,f4'"), 'dtype'),
        (header(descr="'<f9'"), 'dtype'),
        (header(order='None'), 'fortran_order'),
        (b'\xff' * 30, 'descr'),
        (b'', 'header'),
    ],
)
def test_a_forged_npz_header_is_one_line(tmp_path, text, words):
    path = npz_of(tmp_path / 'x.npz', text, bytes(8))
    for read in (open_source, lambda path: read_source(DataSettings(source=f'npz:{path}'))):
        assert words in refusal(read, path)


def changed_member(path, at, value, width=2):
    """Overwrites a field of the (one) member in both places where a zip has it."""
    data = bytearray(path.read_bytes())
    for magic, shift in ((b'PK\1\2', 2), (b'PK\3\4', 0)):
        place = data.index(magic) + at + shift
        data[place : place + width] = value.to_bytes(width, 'little')
    path.write_bytes(data)


def test_encrypted_members_and_unknown_compressions_are_named(tmp_path):
    path = tmp_path / 'x.npz'
    for at, value, words in ((6, 1, 'encrypted'), (8, 99, 'compression 99'), (4, 255, 'npz')):
        np.savez(path, x=np.zeros(3))
        changed_member(path, at, value)
        assert words in refusal(open_source, path)


def test_sizes_that_the_directory_forges_are_not_believed(tmp_path):
    path = npz_of(tmp_path / 'x.npz', header(f'({2**28},)'), bytes(8))
    changed_member(path, 22, 2**30 + 128, width=4)
    assert 'promises' in refusal(open_source, path)
    path = npz_of(tmp_path / 'x.npz', header(f'({2**29},)'), bytes(8), zipfile.ZIP_DEFLATED)
    changed_member(path, 22, 2**31 + 69, width=4)
    assert 'which no data does' in refusal(open_source, path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """18 GB of zeros take 18 MB: here 8 MB, with the limits lowered as much."""
    path = tmp_path / 'x.npz'
    np.savez_compressed(path, x=np.zeros(2**20))
    np.testing.assert_array_equal(open_source(path).read('x'), np.zeros(2**20))
    monkeypatch.setattr(npz_archive, 'SMALL', 2**20)
    message = refusal(open_source, path)
    assert str(2**23 + 128) in message and 'which no data does' in message
    np.savez(path, x=np.zeros(2**20))  # stored as it is, it may be as large as it likes
    assert open_source(path).read('x').size == 2**20
    monkeypatch.setattr(npz_archive, 'host_limit', lambda: 2**20)
    assert 'of memory' in refusal(open_source, path)


def test_two_members_of_one_name_and_members_that_are_no_arrays(tmp_path):
    path = tmp_path / 'x.npz'
    one = io.BytesIO()
    np.save(one, np.zeros(2))
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('x.npy', one.getvalue())
        with pytest.warns(UserWarning, match='Duplicate'):
            archive.writestr('x.npy', one.getvalue())
    assert 'twice' in refusal(open_source, path)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('x.npy', one.getvalue())
        archive.writestr('README.txt', 'about')
    assert NpzArchive(path).others == ('README.txt',)
    assert 'README.txt' in refusal(open_source, path)


@pytest.mark.parametrize(
    'array',
    [
        *(
            np.arange(6, dtype=kind).reshape(2, 3)
            for kind in ('i1', '<i8', '>i4', 'u2', 'f2', 'c8')
        ),
        *(np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 5)), np.float32(3)),
        *(np.array(['a', 'bé']), np.array([b'a', b'bc']), np.array([True, False])),
        *(np.array(['2020-01-01'], 'M8[D]'), np.zeros((2, 0, 3), 'U0')),
    ],
    ids=str,
)
@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_arrays_come_back_as_numpy_reads_them(tmp_path, array, save):
    path = tmp_path / 'x.npz'
    save(path, a=array)
    found, expected = NpzArchive(path).read('a'), np.load(path)['a']
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    'data',
    [
        *(b'', b'\x81', b'\x81\xa1a' * 5000, b'\xdf\xff\xff\xff\xff', b'\x81\xa1a\xc0'),
        *(b'\x81\xa1a\xc9\xff\xff\xff\xff\1', b'\x81\xa1a\xc7\x03\x01\x93\xdd\xff'),
    ],
)
def test_a_forged_msgpack_is_one_line(tmp_path, data):
    (tmp_path / 'x.msgpack').write_bytes(data)
    assert 'x.msgpack' in refusal(open_source, tmp_path / 'x.msgpack')


def test_dtypes_in_a_msgpack_are_plain_ones(tmp_path):
    path = tmp_path / 'x.msgpack'
    whole = flax.serialization.msgpack_serialize({'a': np.zeros(2, np.float32)})
    for name in (b'f4,f4,U', b'finfo__', b'object_', b'float3\xff'):
        path.write_bytes(whole.replace(b'float32', name[:7]))
        refusal(open_source, path)


@pytest.mark.slow
def test_the_files_of_a_checkpoint_are_looked_at_before_orbax_opens_them(tmp_path):
    tree = {'params': {}, 'trainable': {'head/kernel': np.ones((2, 3), np.float32)}}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, {'state': tree})
    step = tmp_path / '3'
    assert RunSource(step).read('params/head/kernel').shape == (2, 3)
    metadata = step / 'state' / '_METADATA'
    whole = metadata.read_bytes()
    for text in ('[' * 10_000 + ']' * 10_000, '[1e999]', 'null', '', '{}'):
        metadata.write_text(text)
        refusal(RunSource, step)
    metadata.write_bytes(whole)
    os.mkfifo(step / 'state' / 'pipe')
    assert 'a pipe' in refusal(RunSource, step)
