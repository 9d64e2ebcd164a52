"""JSON from outside: deep, endless, not finite, too large, of the wrong type; one line each."""

import json
import os
import socket

import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.io.files import lock
from ftjax.io.files.lock import run_lock
from ftjax.io.files.regular_files import open_regular, read_bytes
from ftjax.io.json.json_reader import LENIENT, WIDE, JsonLimits, parse_json, read_json, read_object
from ftjax.io.json.json_values import Integer, ListOf, Number, Text, check, optional
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained import families, own_format
from ftjax.pretrained.locate.locate import Location, locate
from ftjax.pretrained.open import describe
from ftjax.pretrained.readers import open_source

DEEP = '[' * 10_000 + ']' * 10_000
VIT = {'image_size': 8, 'patch_size': 4, 'width': 4, 'depth': 1, 'heads': 2, 'num_classes': 3}
BERT = {'vocab_size': 9, 'width': 4, 'depth': 1, 'heads': 2, 'mlp_dim': 8, 'num_classes': 3}


def refusal(function, *arguments, **keywords):
    """The one line that a person reads."""
    with pytest.raises(UserError) as caught:
        function(*arguments, **keywords)
    message = str(caught.value)
    assert '\n' not in message and len(message) < 1500, message
    return message


@pytest.mark.parametrize(
    'text, words',
    [
        (DEEP, 'nested more than 100 deep'),
        ('{"a":' * 10_000 + '1' + '}' * 10_000, 'nested more than 100 deep'),
        ('[' * 101 + ']' * 101, 'nested more than 100 deep'),
        ('{"a": [1, {"b": 1e999}]}', r'a\[1\]\.b is inf'),
        ('{"a": -Infinity}', 'a is -inf'),
        ('[NaN]', r'\[0\] is nan'),
        ('{"a": 9223372036854775808}', 'integer of 64 bits'),
        ('{"a": 1' + '0' * 5000 + '}', '5001 digits'),
        ('{"a": "\\ud800"}', 'a holds half of a character'),
        ('{"a": 1,\n "b": }', 'line 2: Expecting value'),
        (b'"\xff"', 'not UTF-8'),
    ],
)
def test_json_beyond_the_limits_is_refused_by_its_place(text, words):
    message = refusal(parse_json, text, 'x.json')
    assert message.startswith('x.json')
    with pytest.raises(UserError, match=words):
        parse_json(text, 'x.json')


def test_json_within_the_limits_is_what_it_is():
    text = '{"a": [1, -9223372036854775808, 2.5, "é\\ud83d\\ude00", null, true], "b": {"c": {}}}'
    assert (
        parse_json(text, 'x')
        == json.loads(text)
        == parse_json(b'\xef\xbb\xbf' + text.encode(), 'x')
    )
    assert parse_json('[' * 100 + ']' * 100, 'x')
    assert parse_json('[NaN]', 'x', LENIENT)[0] != 0
    assert parse_json('{"a": 1, "a": 2}', 'x') == {'a': 2}
    twice = JsonLimits(duplicates=False)
    assert "'a' stands there twice" in refusal(parse_json, '{"a": 1, "a": 2}', 'x', twice)
    assert parse_json(f'[{2**128}]', 'x', WIDE) == [2**128]
    assert 'at most 400' in refusal(parse_json, '9' * 401, 'x', WIDE)
    assert 'more than 3 bytes' in refusal(parse_json, '[1, 2]', 'x', JsonLimits(size=3))


def test_kinds_of_values_tell_right_from_nearly_right():
    for kind, right, wrong in (
        (Integer(1, 4), [1, 4, np.int64(2)], [0, 5, 2.0, True, '2', None, 10**400]),
        (Number(0, 1, low_belongs=False), [0.5, 1, np.float32(0.5)], [0, 1.1, float('nan'), True]),
        (Text(choices=('a', 'b')), ['a'], ['c', 1, None]),
        (ListOf(Integer(0, 9), 2, 2), [[1, 2], (3, 4)], [[1], [1, 2, 3], [1, 'x'], '12', None]),
        (optional(Text(longest=3)), [None, 'abc'], ['abcd', 0]),
    ):
        assert all(check(value, 'x', kind) is value for value in right)
        for value in wrong:
            assert f'; expected {kind.expected}' in refusal(check, value, 'x', kind)


def test_only_regular_files_are_opened(tmp_path):
    """A pipe would be waited for, for ever; a device has no end."""
    os.mkfifo(tmp_path / 'pipe')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / 'socket'))
        (tmp_path / 'file').write_bytes(b'[1]')
        (tmp_path / 'link').symlink_to('file')
        (tmp_path / 'zero').symlink_to('/dev/zero')
        for name, words in (('pipe', 'a pipe'), ('socket', 'a socket'), ('zero', 'a device')):
            with pytest.raises(OSError, match=words):
                open_regular(tmp_path / name)
            assert words in refusal(read_json, tmp_path / name)
            for ending in ('safetensors', 'npz', 'msgpack', 'safetensors.index.json'):
                file = tmp_path / f'{name}.{ending}'
                file.symlink_to(tmp_path / name)
                assert words in refusal(open_source, file)
    assert read_json(tmp_path / 'link') == [1]
    with pytest.raises(OSError, match='more than 2 bytes'):
        read_bytes(tmp_path / 'file', 2)
    assert 'JSON object' in refusal(read_object, tmp_path / 'file')


def foreign(folder, name, options, **changes):
    """A config.json of transformers with some fields changed; raw text where that is needed."""
    module = families.module(families.family_of_model(name))
    config = module.config_from_network(build(name, options), ('a', 'b', 'c')) | changes
    (folder / 'config.json').write_text(json.dumps(config))
    return lambda: describe(Location(folder), tensors=False).network()


@pytest.mark.parametrize(
    'changes, field',
    [
        ({'num_attention_heads': 0}, 'num_attention_heads'),
        ({'num_attention_heads': None}, 'num_attention_heads'),
        ({'patch_size': 0}, 'patch_size'),
        ({'patch_size': [4, 0]}, 'patch_size'),
        ({'num_hidden_layers': 2.5}, 'num_hidden_layers'),
        ({'num_hidden_layers': 10**9}, 'num_hidden_layers'),
        ({'hidden_size': 10**12}, 'hidden_size'),
        ({'image_size': 'x'}, 'image_size'),
        ({'image_size': [8]}, 'image_size'),
        ({'layer_norm_eps': float('nan')}, 'layer_norm_eps'),
        ({'layer_norm_eps': '1e-12'}, 'layer_norm_eps'),
        ({'architectures': 5}, 'architectures'),
        ({'architectures': [5]}, 'architectures'),
        ({'hidden_act': ['gelu']}, 'hidden_act'),
        ({'id2label': ['a', 'b']}, 'id2label'),
        ({'id2label': {'x': 'a'}}, 'id2label'),
        ({'num_channels': True}, 'num_channels'),
        ({'hidden_dropout_prob': -0.5}, 'hidden_dropout_prob'),
        ({'model_type': {}}, 'model_type'),
    ],
)
def test_a_foreign_config_names_the_field_that_is_wrong(tmp_path, changes, field):
    network = foreign(tmp_path, 'vit', VIT, **changes)
    message = refusal(lambda: (network(), describe(Location(tmp_path), tensors=False).class_names))
    assert field in message and str(tmp_path / 'config.json') in message, message


def test_fields_that_do_not_go_together_are_one_line_too(tmp_path):
    for changes in ({'rope_parameters': {'rope_type': 'linear'}}, {'head_dim': 3}):
        network = foreign(tmp_path, 'llama', {**BERT, 'width': 8}, **changes)
        assert str(tmp_path / 'config.json') in refusal(network)


def test_null_and_what_is_not_read_may_be_anything(tmp_path):
    changes = {'id2label': None, 'architectures': None, 'summary': float('nan'), 'extra': [{}]}
    assert foreign(tmp_path, 'vit', VIT, **changes)().width == 4
    llama = {**BERT, 'width': 8}
    changes = dict.fromkeys(('num_key_value_heads', 'head_dim', 'rope_scaling', 'pad_token_id'))
    assert foreign(tmp_path, 'llama', llama, **changes, eos_token_id=[1, 2])().heads == 2


@pytest.mark.parametrize(
    'options, field',
    [
        (None, 'options'),
        ({**VIT, 'depth': 2.5}, 'depth'),
        ({**VIT, 'heads': 0}, 'heads'),
        ({**VIT, 'width': '4'}, 'width'),
        ({**VIT, 'epsilon': float('inf')}, 'epsilon'),
        ({**VIT, 'dtype': 'object'}, 'dtype'),
        ({**VIT, 'image_size': [8, [8]]}, 'image_size'),
        ({**VIT, 'patch_size': {}}, 'patch_size'),
        ({**VIT, 'nothing': 1}, 'nothing'),
    ],
)
def test_our_own_config_is_looked_at_as_closely(tmp_path, options, field):
    config = {'format': 'ftjax', 'model': 'vit', 'options': options, 'preprocessing': None}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    message = refusal(lambda: describe(Location(tmp_path), tensors=False).network())
    assert field in message and 'config.json' in message, message


def test_options_of_adapters_are_text_in_text(tmp_path):
    right = {'base': 'vit', 'base_options': json.dumps(VIT), 'adapters': [], 'num_classes': 3}
    for wrong in (
        {'base': 'adapted'},
        {'base': 'nothing'},
        {'base_options': DEEP},
        {'base_options': '[1]'},
        {'base_options': json.dumps({**VIT, 'depth': 10**9})},
        {'adapters': ['{"kind": "lora", "rank": 0}']},
        {'adapters': ['{"kind": "lora", "targets": "("}']},
        {'adapters': ['{"kind": "lora", "tokens": 3}']},
        {'adapters': [5]},
    ):
        config = {'format': 'ftjax', 'model': 'adapted', 'options': right | wrong}
        (tmp_path / 'config.json').write_text(json.dumps(config))
        refusal(lambda: describe(Location(tmp_path), tensors=False).network())


def test_more_blocks_than_tensors_are_refused_before_they_are_traced(tmp_path):
    from ftjax.pretrained.readers.safetensors_file import write_safetensors

    foreign(tmp_path, 'bert', BERT, num_hidden_layers=2000)
    tensor = (np.dtype(np.float32), (2,), lambda: np.zeros(2, np.float32))
    write_safetensors(tmp_path / 'model.safetensors', {'a': tensor})
    message = refusal(lambda: describe(Location(tmp_path)).network())
    assert '2000 blocks' in message and '1 tensors' in message


PROCESSOR = {
    'size': {'height': 8, 'width': 8},
    'image_mean': [0.5, 0.5, 0.5],
    'image_std': [0.5, 0.5, 0.5],
}


@pytest.mark.parametrize(
    'field, value',
    [
        *(('size', value) for value in ('abc', {'height': None}, [1], [1, 2, 3], 10**9, 0)),
        *(('size', value) for value in (2.5, {'shortest_edge': 'x'}, {'height': 8}, True)),
        *(('resample', value) for value in (99, [1], -1, 2.0, 'soft')),
        *(('rescale_factor', value) for value in (float('nan'), 0, 'x', -1)),
        *(('image_mean', value) for value in (['abc'], [0.5, 0.5], {}, float('inf'))),
        *(('image_std', value) for value in (0, [0.5, 0, 0.5], float('inf'), ['x'] * 3)),
        ('do_normalize', 'no'),
        ('crop_pct', 0),
    ],
)
def test_a_preprocessor_names_the_field_that_is_wrong(field, value):
    message = refusal(Preprocessing.from_huggingface, {**PROCESSOR, field: value}, 3, 'here.json')
    assert message.startswith('here.json') and field in message, message


def test_preprocessors_that_people_have_are_read():
    read = Preprocessing.from_huggingface
    assert read({**PROCESSOR, 'size': 224.0}).image_size == (224, 224)
    assert read({**PROCESSOR, 'size': {'shortest_edge': 8, 'height': None}}).resize == 'crop'
    assert read({**PROCESSOR, 'resample': 'bicubic'}).interpolation == 'bicubic'
    assert read({**PROCESSOR, 'resample': None}).interpolation == 'bilinear'
    assert read({**PROCESSOR, 'image_mean': None, 'do_normalize': False}).mean == (0, 0, 0)
    for field in ('size', 'image_mean', 'rescale_factor'):  # null is the class's own choice
        without = {name: value for name, value in PROCESSOR.items() if name != field}
        assert read({**PROCESSOR, field: None}) == read(without)
    assert read({**PROCESSOR, 'image_mean': 0.4}).mean == (0.4, 0.4, 0.4)


@pytest.mark.parametrize(
    'init',
    ['x' * 10_000, '~nosuchuser/x', 'a\0b', '/'.join(['y' * 200] * 100), 'data:' + 'z' * 9999],
)
def test_an_init_that_no_path_can_be_is_one_line(init, tmp_path, monkeypatch):
    monkeypatch.setenv('FTJAX_DATA', str(tmp_path))
    refusal(locate, init)


def test_a_lock_says_only_what_is_fit_to_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'STALE', 0.1)  # how long an owner elsewhere is watched
    for text in (DEEP, '{"pid": 1e999}', '[]', '\0' * 50, '{"host": "a\\u001b[31m\\n", "pid": 1}'):
        (tmp_path / '.lock').write_text(text)
        message = ''
        try:
            with run_lock(tmp_path):
                pass
        except UserError as error:
            message = str(error)
        assert message.isprintable()


def test_our_own_files_are_within_the_limits_too(tmp_path):
    """Their fields are those of test_rows.py."""
    from ftjax.io.json.jsonl import read_jsonl
    from ftjax.io.json.stored_fields import read_result

    file = tmp_path / 'result.json'
    for text in (
        DEEP,
        '{"metrics": {"accuracy": 1e999}}',
        '{"steps": 1' + '0' * 5000 + '}',
        '"\\ud800"',
    ):
        file.write_text(text)
        assert 'result.json' in refusal(read_result, file)
    rows = tmp_path / 'runs.jsonl'
    rows.write_text(f'{DEEP}\n{{"a": 1}}\n')
    refusal(read_jsonl, rows)
    rows.write_text(f'{{"a": 1}}\n{DEEP}')  # torn while it was written
    assert read_jsonl(rows) == [{'a': 1}]


def test_a_provenance_may_hold_what_is_not_finite(tmp_path):
    """It was written by save_own, which takes any JSON: such folders stay readable."""
    network = build('vit', VIT)
    pixels = Preprocessing(image_size=(8, 8))
    own_format.save_description(tmp_path, network, pixels, (), {'loss': float('nan')})
    assert describe(Location(tmp_path), tensors=False).network() == network
