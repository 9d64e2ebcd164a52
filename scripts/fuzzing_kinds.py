"""The kinds of files that `fuzzing` writes: a valid one of each, and what reads it."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import pathlib
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from fuzzing_inputs import Kind, bents, edits

from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.evaluation.classification import classification_metrics
from ftjax.models.adapted import adapted
from ftjax.models.adapters.lora import LoRA
from ftjax.models.registry import build
from ftjax.pretrained import families, own
from ftjax.pretrained.checkpoint import describe
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.leaves import unflatten
from ftjax.pretrained.locate import SHIPPED, Location
from ftjax.pretrained.preprocessing import Preprocessing
from ftjax.training.atomic import to_jsonable

_VIT = {'image_size': 8, 'patch_size': 4, 'width': 4, 'depth': 1, 'heads': 2, 'num_classes': 3}
_BERT = {'vocab_size': 9, 'width': 4, 'depth': 1, 'heads': 2, 'mlp_dim': 8, 'num_classes': 3}
_LLAMA = {'vocab_size': 9, 'width': 8, 'depth': 1, 'heads': 2, 'mlp_dim': 8, 'num_classes': 3}
_CONV = {'depths': (1, 1), 'widths': (4, 8), 'num_classes': 3}
SMALL: dict[str, dict[str, Any]] = {
    'vit': _VIT,
    'deit': _VIT,
    'dinov2': _VIT,
    'clip_vision': {**_VIT, 'pool': 'mean'},
    'siglip_vision': {**_VIT, 'pool': 'mean'},
    'swin': {
        'image_size': 16,
        'patch_size': 4,
        'width': 4,
        'depths': (1, 1),
        'heads': (1, 2),
        'window': 2,
        'num_classes': 3,
    },
    'convnext': _CONV,
    'resnet': _CONV,
    'resnet_gn_cifar': {'depth': 8},
    'bert': _BERT,
    'roberta': _BERT,
    'electra': _BERT,
    'distilbert': _BERT,
    'gpt2': {key: value for key, value in _BERT.items() if key != 'mlp_dim'},
    'llama': _LLAMA,
}
TIMM = {
    'architecture': 'vit_tiny_patch16_224',
    'num_classes': 3,
    'global_pool': 'token',
    'model_args': {'depth': 1, 'init_values': 1e-5, 'img_size': [32, 32]},
    'pretrained_cfg': {
        'input_size': [3, 32, 32],
        'mean': [0.5] * 3,
        'std': [0.5] * 3,
        'interpolation': 'bicubic',
        'crop_pct': 0.9,
    },
}
PROCESSOR = {
    'do_resize': True,
    'size': {'height': 8, 'width': 8},
    'resample': 2,
    'do_center_crop': True,
    'crop_size': {'height': 8, 'width': 8},
    'crop_pct': 0.9,
    'do_rescale': True,
    'rescale_factor': 1 / 255,
    'do_normalize': True,
    'image_mean': [0.5] * 3,
    'image_std': [0.5] * 3,
}


def foreign_configs() -> list[dict[str, Any]]:
    """A small config.json of each family in transformers' form, and one of timm's."""
    found = []
    for name, options in SMALL.items():
        module = families.module(families.family_of_model(name))
        labels = () if name == 'resnet_gn_cifar' else ('a', 'b', 'c')
        found.append(module.config_from_network(build(name, options), labels))
    whole = next(config for config in found if config['model_type'] == 'clip')
    rope = {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 10000.0}
    llama = next(config for config in found if config['model_type'] == 'llama')
    return [*found, {**whole}, {**llama, 'rope_scaling': rope, 'rope_parameters': rope}, TIMM]


def own_configs() -> list[dict[str, Any]]:
    """config.json of our own format: images, texts, adapters."""
    pixels = Preprocessing(image_size=(8, 8))
    plain, texts = build('vit', _VIT), build('bert', _BERT)
    made = [
        own.description(pathlib.Path(), network, preprocessing, names, {'seed': 1})
        for network, preprocessing, names in (
            (plain, pixels, ('a', 'b', 'c')),
            (adapted(plain, [LoRA(rank=2)]), pixels, ()),
            (texts, None, ()),
        )
    ]
    shipped = json.loads((SHIPPED / 'docstrings' / 'config.json').read_text())
    return [*made, {**made[2], 'preprocessing': shipped['preprocessing']}]


def look_at(folder: pathlib.Path) -> None:
    """All that is learned of a checkpoint from its configuration."""
    found = describe(Location(folder), tensors=False)
    network = found.network()
    assert found.promises_head in (True, False)
    assert all(isinstance(name, str) for name in found.class_names)
    found.key_map(network)
    found.preprocessing(network)


def read_config(folder: pathlib.Path, text: str) -> None:
    """config.json in a folder of its own, without weights."""
    place = folder / 'config'
    place.mkdir(exist_ok=True)
    (place / 'config.json').write_text(text)
    look_at(place)


def read_processor(folder: pathlib.Path, text: str) -> None:
    """preprocessor_config.json beside a ViT's config.json."""
    place = folder / 'processor'
    if not place.exists():
        place.mkdir()
        config = families.module('vit').config_from_network(build('vit', _VIT), ())
        (place / 'config.json').write_text(json.dumps(config))
    (place / 'preprocessor_config.json').write_text(text)
    look_at(place)


def read_whole(folder: pathlib.Path, text: str) -> None:
    """Our own checkpoint, its weights included."""
    from ftjax.pretrained.open import load_pretrained

    place = folder / 'whole'
    network = build('vit', _VIT)
    if not place.exists():
        shapes = leaf_shapes(network).items()
        zeros = {key: np.zeros(leaf.shape, leaf.dtype) for key, leaf in shapes}
        pixels = Preprocessing(image_size=(8, 8))
        own.save_own(place, network, unflatten(zeros), pixels, ('a', 'b', 'c'))
    (place / 'config.json').write_text(text)
    load_pretrained(str(place))


def read_tokenizer_config(folder: pathlib.Path, text: str) -> None:
    """tokenizer_config.json, beside a vocab.txt."""
    from ftjax.pretrained.text_preprocessing import text_preprocessing

    place = folder / 'tokenizer'
    if not place.exists():
        place.mkdir()
        (place / 'vocab.txt').write_text('\n'.join(('[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a')))
    (place / 'tokenizer_config.json').write_text(text)
    text_preprocessing(build('bert', _BERT), place)


@functools.cache
def tokenizers() -> tuple[dict[str, Any], ...]:
    """Small tokenizer.json files of several kinds."""
    words = {'[UNK]': 0, '[CLS]': 1, '[SEP]': 2, 'a': 3, 'b': 4, 'ab': 5}
    special = {'id': '[CLS]', 'ids': [1], 'tokens': ['[CLS]']}
    parts = [
        {'SpecialToken': {'id': '[CLS]', 'type_id': 0}},
        {'Sequence': {'id': 'A', 'type_id': 0}},
    ]
    base = {
        'version': '1.0',
        'added_tokens': [
            {
                'id': 1,
                'content': '[CLS]',
                'single_word': False,
                'lstrip': False,
                'rstrip': False,
                'normalized': False,
                'special': True,
            }
        ],
        'normalizer': {'type': 'Replace', 'pattern': {'Regex': 'x+'}, 'content': 'a'},
        'pre_tokenizer': {
            'type': 'Split',
            'pattern': {'Regex': r'\w+'},
            'behavior': 'Isolated',
            'invert': False,
        },
        'post_processor': {
            'type': 'TemplateProcessing',
            'single': parts,
            'special_tokens': {'[CLS]': special},
            'pair': [*parts, {'Sequence': {'id': 'B', 'type_id': 1}}],
        },
    }
    word = {'type': 'WordLevel', 'vocab': words, 'unk_token': '[UNK]'}
    bpe = {'type': 'BPE', 'vocab': words, 'merges': [['a', 'b']], 'unk_token': '[UNK]'}
    unigram = {'type': 'Unigram', 'unk_id': 0, 'vocab': [['<unk>', 0.0], ['a', -1.0], ['b', -2.0]]}
    return tuple({**base, 'model': model} for model in (word, bpe, unigram))


def read_tokenizer(folder: pathlib.Path, text: str) -> None:
    """tokenizer.json, opened and used."""
    from ftjax.pretrained.tokenizer import open_tokenizer

    file = folder / 'tokenizer.json'
    file.write_bytes(text.encode(errors='surrogatepass'))
    open_tokenizer(file).encode_batch_fast(['a b ab', ('a', 'b')])


def read_index(folder: pathlib.Path, text: str) -> None:
    """model.safetensors.index.json beside two shards."""
    from ftjax.pretrained.sources import open_source

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
        from ftjax.pretrained.sources import open_source

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


def read_rows(folder: pathlib.Path, text: str) -> None:
    """A row of a JSONL file, after a good one."""
    from ftjax.data.load import read_source

    file = folder / 'rows.jsonl'
    first = json.dumps({'text': 'good', 'label': 'a'})
    file.write_text(f'{first}\n{text}\n')
    read_source(DataSettings(source=f'jsonl:{file}', test_fraction=0.5))


def read_lock(folder: pathlib.Path, text: str) -> None:
    """What a lock says of its owner."""
    from ftjax.training.lock import run_lock

    place = folder / 'locked'
    place.mkdir(exist_ok=True)
    (place / '.lock').write_text(text[:8000])
    with run_lock(place):
        pass


def read_result(folder: pathlib.Path, text: str) -> None:
    """result.json of a run that is finished."""
    from ftjax.runs.finished_result import finished_result

    (folder / 'result.json').write_text(text)
    finished_result(folder)


def read_ablation(folder: pathlib.Path, text: str) -> None:
    """ablation.json of a folder that is used again."""
    from ftjax.ablation.runner import known_ablation

    (folder / 'ablation.json').write_text(text)
    known_ablation(folder / 'ablation.json')


def manifest_inputs(draw: random.Random) -> Iterator[str]:
    """Manifests of a checkpoint, with a hash that agrees where it can be computed."""
    from ftjax.training.checkpoint_manifest import make_manifest
    from ftjax.training.checkpoint_tree import json_hash

    tree = {'params': {'head/kernel': np.zeros(2)}, 'trainable': {'head/kernel': np.zeros(2)}}
    progress = {'best': {'step': 3}, 'history': []}
    manifest, _ = make_manifest(3, {'state': tree, 'progress': progress}, {'score': 0.5})
    del manifest['sha256']
    for text in edits([manifest], draw):
        try:
            body = json.loads(text)
            hashed = {**body, 'sha256': json_hash(body)} if isinstance(body, dict) else None
            yield text if hashed is None else json.dumps(hashed)
        except (ValueError, RecursionError):
            yield text


def read_manifest(folder: pathlib.Path, text: str) -> None:
    """A run's checkpoints, by both readers of their manifests."""
    from ftjax.pretrained import run_checkpoint
    from ftjax.training import checkpoint_manifest

    place = folder / 'checkpoints'
    file = place / '3' / 'manifest' / 'metadata'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    with contextlib.suppress(checkpoint_manifest.DamagedError, UserError):
        checkpoint_manifest.metrics_of(checkpoint_manifest.read_manifest(file.parents[1], 3))
    found = run_checkpoint.find(place)
    assert found is not None
    run_checkpoint.OrbaxStep(found.step)


def init_inputs(draw: random.Random) -> Iterator[str]:
    """Strings for config.init."""
    parts = [
        '~',
        '~nosuchuser',
        '/',
        '..',
        'x' * 10_000,
        '\0',
        '$',
        '${',
        '$HOME',
        '$NOPE',
        'glyphs',
    ]
    parts += ['hf://', 'data:', 'random:', '@', 'checkpoints', 'é', '\n', '\ud800', '[', '*', '%s']
    yield from parts
    while True:
        yield ''.join(draw.choice((*parts, '/')) for _ in range(draw.randint(1, 5)))


def read_init(folder: pathlib.Path, init: str) -> None:
    """What an init string names, without asking the hub."""
    from ftjax.pretrained.locate import locate

    before = os.environ.get('HF_HUB_OFFLINE')
    os.environ['HF_HUB_OFFLINE'] = '1'
    try:
        if not init.startswith('hf://'):
            locate(init)
    finally:
        del os.environ['HF_HUB_OFFLINE']
        if before is not None:
            os.environ['HF_HUB_OFFLINE'] = before


def kinds() -> list[Kind]:
    """All kinds; built when asked for, as some valid files take a network to make."""
    scores = np.array([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0]])
    metrics = to_jsonable(classification_metrics(scores, np.array([0, 1, 2, 1]), ('a', 'b', 'c')))
    result = {'metrics': metrics, 'frozen_unchanged': True, 'moved_frozen': []}
    result |= {'still_trainable': []}
    token = {'__type': 'AddedToken', 'content': '[PAD]', 'lstrip': False}
    tokens = {'pad_token': token, 'mask_token': '[MASK]', 'do_lower_case': True}
    tokens |= {'strip_accents': None, 'tokenize_chinese_chars': True, 'model_max_length': 512}
    row = {'text': 'some words', 'label': 'a'}
    owner = {'pid': 1, 'host': 'other', 'since': 'now', 'started': '5'}
    ablation = {'digest': 'ab', 'config': {'arms': {'head': {}}, 'rates': [1.0]}}

    def of(*trees):
        return lambda draw: edits(list(trees), draw)

    return [
        Kind('config.json of transformers and timm', of(*foreign_configs()), read_config, 6),
        Kind('config.json of ours', of(*own_configs()), read_config, 0.7),
        Kind('a checkpoint of ours', of(own_configs()[0]), read_whole, 0.03, slow=True),
        Kind('preprocessor_config.json', of(PROCESSOR), read_processor),
        Kind('tokenizer_config.json', of(tokens), read_tokenizer_config, 0.5),
        Kind('tokenizer.json', of(*tokenizers()), read_tokenizer, 0.05),
        Kind('model.safetensors.index.json', of(INDEX), read_index),
        Kind('safetensors header', of(HEADER), read_header, 2),
        Kind('safetensors bytes', safetensors_inputs, read_weights('x.safetensors')),
        Kind('npz as weights', npz_inputs, read_weights('x.npz'), 2),
        Kind('npz as data', npz_inputs, read_npz_data),
        Kind('msgpack', msgpack_inputs, read_weights('x.msgpack'), 2),
        Kind('manifest of a checkpoint', manifest_inputs, read_manifest),
        Kind('row of a JSONL file', of(row), read_rows),
        Kind('lock', of(owner), read_lock),
        Kind('result.json', of(result), read_result),
        Kind('ablation.json', of(ablation), read_ablation, 0.5),
        Kind('config.init', init_inputs, read_init, 0.5),
    ]
