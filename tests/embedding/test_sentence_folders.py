"""Folders of sentence-transformers: written by their documented layout, read back, refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from ftjax.errors import UserError
from ftjax.export.huggingface import save_huggingface
from ftjax.export.sentence_modules import trunk_of, write_modules
from ftjax.models.registry import build
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.sentence_folder import pooling_of

TINY = {'vocab_size': 64, 'width': 16, 'depth': 1, 'heads': 2, 'mlp_dim': 16, 'max_positions': 16}
IDS = np.random.default_rng(0).integers(5, 60, (3, 8)).astype(np.int32)
MASK = np.array([[1] * 8, [1] * 5 + [0] * 3, [1] * 2 + [0] * 6], np.int32)
INPUTS = {'input_ids': IDS, 'attention_mask': MASK}


def write(folder, pool, vector_dim=0):
    network = build(
        'bert', {**TINY, 'num_classes': 0, 'head': 'vector', 'pool': pool, 'vector_dim': vector_dim}
    )
    variables = random_variables(network, 0)
    trunk, weights = trunk_of(network, variables)
    save_huggingface(folder, trunk, weights, None)
    write_modules(folder, network, variables, None)
    return network, variables


@pytest.mark.parametrize('pool', ['mean', 'cls'])
def test_a_folder_is_read_with_the_pool_it_was_written_with(tmp_path, pool):
    network, variables = write(tmp_path / 'a', pool)
    modules = json.loads((tmp_path / 'a' / 'modules.json').read_text())
    assert [m['type'].rpartition('.')[2] for m in modules] == [
        *('Transformer', 'Pooling', 'Normalize')
    ]
    assert [m['path'] for m in modules] == ['', '1_Pooling', '2_Normalize']
    config = json.loads((tmp_path / 'a' / '1_Pooling' / 'config.json').read_text())
    flags = [name for name, value in config.items() if name.startswith('pooling') and value]
    assert len(flags) == 1 and config['word_embedding_dimension'] == 16
    assert pooling_of(tmp_path / 'a') == pool
    opened = load_pretrained(str(tmp_path / 'a'), num_classes=0, options={'head': 'vector'})
    assert opened.network.pool == pool and opened.network.head_kind == 'vector'
    ours = network.apply(variables, INPUTS)
    np.testing.assert_allclose(opened.network.apply(opened.variables, INPUTS), ours, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=-1), 1, atol=1e-6)
    # By hand: what is left of the padding is nothing.
    hidden = build('bert', {**TINY, 'num_classes': 0, 'pool': 'none'}).apply(variables, INPUTS)
    hidden = np.asarray(hidden['hidden'])
    want = hidden[:, 0]
    if pool == 'mean':
        want = (hidden * MASK[..., None]).sum(1) / MASK.sum(1, keepdims=True)
    np.testing.assert_allclose(ours, want / np.linalg.norm(want, axis=-1)[:, None], atol=1e-5)


def test_a_linear_layer_is_a_module_of_its_own(tmp_path):
    network, variables = write(tmp_path / 'a', 'mean', vector_dim=4)
    modules = json.loads((tmp_path / 'a' / 'modules.json').read_text())
    assert [m['path'] for m in modules] == ['', '1_Pooling', '2_Dense', '3_Normalize']
    dense = load_file(tmp_path / 'a' / '2_Dense' / 'model.safetensors')
    assert dense['linear.weight'].shape == (4, 16)
    assert network.apply(variables, INPUTS).shape == (3, 4)
    with pytest.raises(UserError, match="a module 'Dense' is not read"):
        pooling_of(tmp_path / 'a')


def test_the_last_token_is_that_of_a_decoder_whatever_the_padding():
    network = build('gpt2', {**TINY, 'head': 'vector', 'pool': 'last'})
    variables = random_variables(network, 0)
    right = network.apply(variables, INPUTS)
    turned = [np.roll(ids, -int(real.sum())) for ids, real in zip(IDS, MASK, strict=True)]
    left = {'input_ids': np.stack(turned), 'attention_mask': MASK[:, ::-1]}
    np.testing.assert_allclose(network.apply(variables, left), right, atol=1e-5)


@pytest.mark.parametrize(
    ('config', 'said'),
    [
        ({'pooling_mode_max_tokens': True}, 'pools by pooling_mode_max_tokens'),
        ({'pooling_mode_cls_token': True, 'pooling_mode_mean_tokens': True}, 'pools by'),
        ({}, 'pools by nothing'),
    ],
)
def test_other_pools_are_refused(tmp_path, config, said):
    module = {'idx': 1, 'path': '1_Pooling', 'type': 'sentence_transformers.models.Pooling'}
    (tmp_path / 'modules.json').write_text(json.dumps([module]))
    (tmp_path / '1_Pooling').mkdir()
    (tmp_path / '1_Pooling' / 'config.json').write_text(json.dumps(config))
    with pytest.raises(UserError, match=said):
        pooling_of(tmp_path)


def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path):
    module = {'idx': 1, 'path': '../x', 'type': 'sentence_transformers.models.Pooling'}
    (tmp_path / 'modules.json').write_text(json.dumps([module]))
    with pytest.raises(UserError, match='leads elsewhere'):
        pooling_of(tmp_path)
