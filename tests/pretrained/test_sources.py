"""Readers of checkpoint files: what they read, and how they refuse broken ones."""

import json
import pathlib
import pickle
import struct
import zipfile

import flax.serialization
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from ftjax.errors import UserError
from ftjax.pretrained.readers import open_source
from ftjax.pretrained.readers.safetensors_file import write_safetensors

RANDOM = np.random.default_rng(0)
TENSORS = {
    'a.weight': RANDOM.normal(size=(3, 4)).astype(np.float32),
    'a.half': RANDOM.normal(size=(5,)).astype(np.float16),
    'b.brain': RANDOM.normal(size=(2, 3)).astype(ml_dtypes.bfloat16),
    'b.ids': np.arange(6, dtype=np.int64).reshape(1, 6),
    'b.empty': np.zeros((0, 4), np.float32),
    'b.scalar': np.array(2.5, np.float64),
}


def write(path: pathlib.Path, tensors=TENSORS) -> pathlib.Path:
    write_safetensors(path, {n: (t.dtype, t.shape, lambda t=t: t) for n, t in tensors.items()})
    return path


def check(source, tensors=TENSORS):
    assert set(source.names) == set(tensors)
    for name, tensor in tensors.items():
        assert source.shape(name) == tensor.shape
        assert source.dtype(name) == tensor.dtype
        found = source.read(name)
        assert found.shape == tensor.shape
        assert found.tobytes() == tensor.tobytes()
    assert source.nbytes == sum(tensor.nbytes for tensor in tensors.values())


def test_safetensors_as_the_library_writes_and_reads_them(tmp_path):
    plain = {name: t for name, t in TENSORS.items() if t.dtype != ml_dtypes.bfloat16}
    safetensors.numpy.save_file(plain, tmp_path / 'model.safetensors', {'format': 'pt'})
    source = open_source(tmp_path)
    check(source, plain)
    assert source.metadata == {'format': 'pt'}
    write(tmp_path / 'own.safetensors', plain)
    back = safetensors.numpy.load_file(tmp_path / 'own.safetensors')
    for name, tensor in plain.items():
        assert back[name].tobytes() == tensor.tobytes()


def test_safetensors_of_every_dtype(tmp_path):
    check(open_source(write(tmp_path / 'x.safetensors')))


def test_truncated_safetensors_names_the_tensor(tmp_path):
    path = write(tmp_path / 'x.safetensors')
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"truncated: tensor 'b\.ids'"):
        open_source(path)


def test_safetensors_cut_after_opening(tmp_path):
    path = write(tmp_path / 'x.safetensors')
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"ends inside tensor 'b\.ids'"):
        source.read('b.ids')


def forge(path, header) -> pathlib.Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + bytes(64))
    return path


@pytest.mark.parametrize(
    'header, message',
    [
        (b'{not json', 'header is broken'),
        (b'[1, 2]', 'header is broken'),
        ({'x': {'dtype': 'F32'}}, 'header is broken'),
        ({'x': {'dtype': 'F33', 'shape': [1], 'data_offsets': [0, 4]}}, "'x': unknown dtype"),
        ({'x': {'dtype': 'object', 'shape': [1], 'data_offsets': [0, 8]}}, 'Python objects'),
        ({'x': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 4]}}, "'x'.*does not fit"),
        ({'x': {'dtype': 'F32', 'shape': [-1], 'data_offsets': [0, 4]}}, 'negative'),
        ({'x': {'dtype': 'F32', 'shape': [2**62, 4], 'data_offsets': [0, 0]}}, 'does not fit'),
        (
            {
                'x': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]},
                'y': {'dtype': 'F32', 'shape': [4], 'data_offsets': [8, 24]},
            },
            "'y'.*does not fit",
        ),
    ],
)
def test_forged_safetensors(tmp_path, header, message):
    with pytest.raises(UserError, match=message):
        open_source(forge(tmp_path / 'x.safetensors', header))


@pytest.mark.parametrize('data', [b'', b'1234', struct.pack('<Q', 10**15) + b'{}'])
def test_no_safetensors_at_all(tmp_path, data):
    (tmp_path / 'x.safetensors').write_bytes(data)
    with pytest.raises(UserError, match='not a whole safetensors file'):
        open_source(tmp_path / 'x.safetensors')


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write(tmp_path / 'x.safetensors')

    def broken():
        raise RuntimeError('lost')

    with pytest.raises(RuntimeError, match='lost'):
        write_safetensors(path, {'a': (np.dtype('f4'), (2,), broken)})
    check(open_source(path))
    assert [file.name for file in tmp_path.iterdir()] == ['x.safetensors']


def shard(folder, weight_map=None):
    first = {name: t for name, t in TENSORS.items() if name.startswith('a')}
    second = {name: t for name, t in TENSORS.items() if name.startswith('b')}
    write(folder / 'model-00001-of-00002.safetensors', first)
    write(folder / 'model-00002-of-00002.safetensors', second)
    if weight_map is None:
        weight_map = dict.fromkeys(first, 'model-00001-of-00002.safetensors')
        weight_map |= dict.fromkeys(second, 'model-00002-of-00002.safetensors')
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': weight_map}))
    return folder


def test_shards(tmp_path):
    check(open_source(shard(tmp_path)))


@pytest.mark.parametrize(
    'name',
    ['../secret.safetensors', '/etc/secret.safetensors', '..\\x.safetensors', 'C:x.safetensors', 3],
)
def test_an_index_must_not_lead_out_of_its_folder(tmp_path, name):
    write(tmp_path / 'secret.safetensors')
    folder = tmp_path / 'model'
    folder.mkdir()
    with pytest.raises(UserError, match=r"'a\.weight' is said to be in"):
        open_source(shard(folder, {'a.weight': name}))


def test_an_index_that_lies(tmp_path):
    one, two = 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'
    with pytest.raises(UserError, match=r"'a\.weight' is not in its shard"):
        open_source(shard(tmp_path, {'a.weight': two}))
    with pytest.raises(UserError, match=r'shard model-3\.safetensors is missing'):
        open_source(shard(tmp_path, {'a.weight': 'model-3.safetensors'}))
    # What the index does not list is in the shard all the same, and must be explained.
    assert 'a.half' in open_source(shard(tmp_path, {'a.weight': one})).names
    (tmp_path / 'model.safetensors.index.json').write_text('{}')
    with pytest.raises(UserError, match='not a safetensors index'):
        open_source(tmp_path)


def test_a_tensor_in_two_shards(tmp_path):
    one, two = 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'
    shard(tmp_path, {'a.weight': one, 'b.ids': two})
    write(tmp_path / two, TENSORS)
    with pytest.raises(UserError, match=r"'a\.weight' is in two shards"):
        open_source(tmp_path)


def test_npz(tmp_path):
    tensors = {**TENSORS, 'Transformer/kernel': np.asfortranarray(TENSORS['a.weight'])}
    np.savez(tmp_path / 'x.npz', **tensors)
    source = open_source(tmp_path / 'x.npz')
    check(source, {n: t for n, t in tensors.items() if n != 'Transformer/kernel'} | {
        'Transformer/kernel': np.ascontiguousarray(TENSORS['a.weight'])
    })  # fmt: skip


def test_broken_npz(tmp_path):
    path = tmp_path / 'x.npz'
    np.savez(path, a=np.arange(1000.0), b=np.arange(3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=r'not a whole \.npz'):
        open_source(path)
    at = whole.index(np.arange(1000.0)[500:510].tobytes())
    path.write_bytes(whole[:at] + b'\1' + whole[at + 1 :])
    with pytest.raises(UserError, match="'a' is damaged"):
        open_source(path).read('a')
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(UserError, match='Python objects'):
        open_source(path)


def test_npz_that_promises_more_than_it_holds(tmp_path):
    path = tmp_path / 'x.npz'
    with zipfile.ZipFile(path, 'w') as archive, archive.open('a.npy', 'w') as file:
        np.lib.format.write_array_header_1_0(
            file, {'descr': '<f4', 'fortran_order': False, 'shape': (9,)}
        )
        file.write(bytes(8))
    with pytest.raises(UserError, match="'a' has not the size"):
        open_source(path).read('a')


NESTED = {
    'model': {'kernel': TENSORS['a.weight'], 'big': RANDOM.normal(size=(300, 300))},
    'x': {'brain': TENSORS['b.brain'], 'one': np.float32(1.5), 'ids': TENSORS['b.ids']},
}


def test_msgpack_of_flax(tmp_path):
    (tmp_path / 'flax_model.msgpack').write_bytes(flax.serialization.msgpack_serialize(NESTED))
    source = open_source(tmp_path)
    flat = {f'{a}/{b}': np.asarray(t) for a, row in NESTED.items() for b, t in row.items()}
    check(source, flat)


def test_broken_msgpack(tmp_path):
    path = tmp_path / 'flax_model.msgpack'
    data = flax.serialization.msgpack_serialize(NESTED)
    path.write_bytes(data[:-20])
    with pytest.raises(UserError, match="truncated: it ends inside 'x/ids'"):
        open_source(path)
    path.write_bytes(data + b'x')
    with pytest.raises(UserError, match='bytes after the end'):
        open_source(path)
    for rubbish in (b'', b'\x93\1\2\3', b'\xc1', b'\x81\xa1a\x05', pickle.dumps({'a': 1})):
        path.write_bytes(rubbish)
        with pytest.raises(UserError, match=r'flax_model\.msgpack'):
            open_source(path)


def test_msgpack_in_chunks_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, 'MAX_CHUNK_SIZE', 1000)
    path = tmp_path / 'flax_model.msgpack'
    path.write_bytes(flax.serialization.msgpack_serialize(NESTED))
    with pytest.raises(UserError, match="'model/big' is stored in chunks"):
        open_source(path)


@pytest.mark.parametrize('suffix', ['.pth', '.pt', '.bin', '.ckpt', '.pkl'])
def test_pickles_are_never_opened(tmp_path, suffix):
    class Bomb:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / 'exploded',))

    path = tmp_path / f'model{suffix}'
    path.write_bytes(pickle.dumps(Bomb()))
    for where in (path, tmp_path):
        with pytest.raises(UserError, match='save_file'):
            open_source(where)
    assert not (tmp_path / 'exploded').exists()


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match='no such checkpoint'):
        open_source(tmp_path / 'x.safetensors')
    with pytest.raises(UserError, match='holds no checkpoint'):
        open_source(tmp_path)
    (tmp_path / 'x.h5').touch()
    with pytest.raises(UserError, match='not a kind of checkpoint'):
        open_source(tmp_path / 'x.h5')
    write(tmp_path / 'one.safetensors')
    write(tmp_path / 'two.safetensors')
    with pytest.raises(UserError, match='several checkpoints'):
        open_source(tmp_path)
