"""Files of text encoders: heads, poolers, what is damaged, and folders written again."""

import functools
import json
import shutil

import jax
import numpy as np
import parity_engine
import pytest
from safetensors.numpy import load_file, save_file

from ftjax.errors import UserError
from ftjax.export.huggingface import save_huggingface
from ftjax.leaves import flatten
from ftjax.models.registry import build
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own

NAMES = ('a', 'b', 'c')


@pytest.fixture
def copy(tmp_path):
    def copied(golden):
        return shutil.copytree(parity_engine.GOLDENS / golden / 'model', tmp_path / golden)

    return copied


def edit(folder, change):
    tensors = load_file(folder / 'model.safetensors')
    change(tensors)
    save_file(tensors, folder / 'model.safetensors')


def same(one, other):
    one, other = flatten(one), flatten(other)
    assert set(one) == set(other)
    for key, leaf in one.items():
        np.testing.assert_array_equal(leaf, other[key], err_msg=key)


@pytest.mark.parametrize('golden', ['bert', 'roberta', 'electra', 'distilbert'])
def test_own_and_huggingface_folders_open_again(golden, tmp_path):
    found = load_pretrained(str(parity_engine.GOLDENS / golden / 'model'))
    assert (found.preprocessing, found.report.head) == (None, 'kept')
    own = save_own(tmp_path / 'own', found.network, found.variables, None, NAMES)
    theirs = save_huggingface(tmp_path / 'hf', found.network, found.variables, None, NAMES)
    for folder in (own, theirs):
        again = load_pretrained(str(folder))
        assert (again.network, again.class_names) == (found.network, NAMES)
        same(again.variables, found.variables)


def test_tokenizer_files_come_along(tmp_path):
    found = load_pretrained(str(parity_engine.GOLDENS / 'bert' / 'model'))
    (tmp_path / 'source').mkdir()
    names = ('tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'vocab.txt')
    for name in names:
        (tmp_path / 'source' / name).write_text(f'"{name}"')
    folder = save_huggingface(
        tmp_path / 'hf',
        found.network,
        found.variables,
        None,
        tokenizer=tmp_path / 'source' / 'tokenizer.json',
    )
    assert [(folder / name).read_text() for name in names] == [f'"{name}"' for name in names]
    assert load_pretrained(str(folder)).tokenizer == folder / 'tokenizer.json'


@pytest.mark.parametrize('golden', ['bert_minilm', 'bert_minilm_tokens', 'roberta', 'distilbert'])
def test_a_new_head(golden):
    """On a base model, or in place of another number of classes; without pooler, a new one."""
    found = load_pretrained(str(parity_engine.GOLDENS / golden / 'model'), num_classes=5)
    assert found.report.head == 'new'
    stages = {key.split('/')[1] for key in found.report.initialised}
    assert stages == ({'head', 'pooler'} if golden == 'bert_minilm_tokens' else {'head'})
    assert found.variables['params']['head']['dense']['kernel'].shape == (32, 5)


def test_features_never_pass_through_a_random_pooler(copy):
    def cut(tensors):
        for name in [name for name in tensors if 'pooler' in name]:
            del tensors[name]

    folder = copy('bert_minilm')
    assert load_pretrained(str(folder)).network.pool == 'pooler'
    edit(folder, cut)
    found = load_pretrained(str(folder))
    assert (found.network.pool, found.report.initialised) == ('none', {})
    # The same where config.json leaves open whether there is a head.
    config = json.loads((folder / 'config.json').read_text())
    del config['architectures']
    (folder / 'config.json').write_text(json.dumps(config | {'num_labels': 2}))
    found = load_pretrained(str(folder))
    assert (found.network.pool, found.network.num_classes) == ('none', 0)


def test_other_tasks_are_left_over(copy):
    """A masked-LM head, a next-sentence head and positions that count up are no surprise."""

    def add(tensors):
        tensors['cls.predictions.bias'] = np.zeros(40, np.float32)
        tensors['cls.seq_relationship.weight'] = np.zeros((2, 32), np.float32)
        tensors['embeddings.position_ids'] = np.arange(16)[None]

    folder = copy('bert_minilm')
    edit(folder, add)
    found = load_pretrained(str(folder))
    assert set(found.report.skipped) == {
        'cls.predictions.bias',
        'cls.seq_relationship.weight',
        'embeddings.position_ids',
    }


QUERY = 'distilbert.transformer.layer.1.attention.q_lin.weight'


def damage(tensors, how):
    if how == 'missing':
        del tensors[QUERY]
    elif how == 'extra':
        tensors['distilbert.transformer.layer.1.gate'] = np.zeros(2, np.float32)
    elif how == 'shape':
        tensors[QUERY] = tensors[QUERY][:, :-1].copy()
    else:
        tensors[QUERY][0, 0] = np.nan


@pytest.mark.parametrize(
    ('how', 'match'),
    [
        ('missing', r'q_lin\.weight.* is missing'),
        ('extra', r'layer\.1\.gate.* not explained'),
        ('shape', r'\(32, 31\)'),
        ('nan', '1 of 1024 values that are NaN'),
    ],
)
def test_a_damaged_file_is_an_error(how, match, copy):
    folder = copy('distilbert')
    edit(folder, functools.partial(damage, how=how))
    with pytest.raises(UserError, match=match):
        load_pretrained(str(folder))


def test_another_family_is_an_error(copy):
    folder = copy('distilbert')
    shutil.copy(parity_engine.GOLDENS / 'bert' / 'model' / 'config.json', folder)
    with pytest.raises(UserError, match=r'does not fit bert.* looks like distilbert'):
        load_pretrained(str(folder))


@pytest.mark.parametrize(
    'fields', [{'is_decoder': True}, {'position_embedding_type': 'relative_key'}]
)
def test_unsupported_configs(fields, copy):
    folder = copy('bert')
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(config | fields))
    with pytest.raises(UserError, match='is not supported'):
        load_pretrained(str(folder))


TINY = {'vocab_size': 20, 'width': 8, 'depth': 1, 'heads': 2, 'mlp_dim': 12, 'max_positions': 8}


@pytest.mark.parametrize(
    ('model', 'options', 'match'),
    [
        ('bert', {'pool': 'mean'}, 'pooler'),
        ('bert', {'embedding_size': 4}, 'embedding_size'),
        ('bert', {'pad_id': 1}, 'positions'),
        ('bert', {'token_types': 0}, 'token types'),
        ('roberta', {'pool': 'pooler'}, 'cls'),
        ('roberta', {'pad_id': None}, 'pad_id'),
        ('electra', {'pool': 'mean'}, 'cls'),
        ('distilbert', {'epsilon': 1e-6}, 'epsilon'),
        ('distilbert', {'token_types': 2}, 'token_types'),
    ],
)
def test_what_transformers_has_no_place_for(model, options, match, tmp_path):
    network = build(model, TINY | options)
    shapes = jax.eval_shape(network.init, jax.random.key(0), network.example_input())
    with pytest.raises(UserError, match=match):
        save_huggingface(tmp_path, network, shapes, None)
    assert not any(tmp_path.iterdir())
