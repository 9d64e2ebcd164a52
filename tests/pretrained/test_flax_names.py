"""Checkpoints of transformers' former Flax models, by the names and layouts those had.

transformers 5 has no Flax any more, so the names are written out here, as FlaxViT's,
FlaxBert's, FlaxResNet's and FlaxGPT2's parameter trees had them.
"""

import json
import pathlib
import shutil

import flax.serialization
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from ftjax.export.huggingface import save_huggingface
from ftjax.leaves import flatten, unflatten
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.keymaps.flax_names import flax_names
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, batch_norm, dense, norm
from ftjax.pretrained.open import load_pretrained

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
VIT = {
    'params/embed/cls_token': 'vit/embeddings/cls_token',
    'params/embed/pos_embed': 'vit/embeddings/position_embeddings',
    'params/embed/patch_embed/kernel': 'vit/embeddings/patch_embeddings/projection/kernel',
    'params/embed/patch_embed/bias': 'vit/embeddings/patch_embeddings/projection/bias',
    'params/norm/norm/scale': 'vit/layernorm/scale',
    'params/norm/norm/bias': 'vit/layernorm/bias',
    'params/head/dense/kernel': 'classifier/kernel',
    'params/head/dense/bias': 'classifier/bias',
}
LAYER = {
    'norm1/scale': 'layernorm_before/scale',
    'norm1/bias': 'layernorm_before/bias',
    'attn/query/kernel': 'attention/attention/query/kernel',
    'attn/query/bias': 'attention/attention/query/bias',
    'attn/key/kernel': 'attention/attention/key/kernel',
    'attn/key/bias': 'attention/attention/key/bias',
    'attn/value/kernel': 'attention/attention/value/kernel',
    'attn/value/bias': 'attention/attention/value/bias',
    'attn/out/kernel': 'attention/output/dense/kernel',
    'attn/out/bias': 'attention/output/dense/bias',
    'norm2/scale': 'layernorm_after/scale',
    'norm2/bias': 'layernorm_after/bias',
    'mlp/fc1/kernel': 'intermediate/dense/kernel',
    'mlp/fc1/bias': 'intermediate/dense/bias',
    'mlp/fc2/kernel': 'output/dense/kernel',
    'mlp/fc2/bias': 'output/dense/bias',
}


@pytest.fixture
def network():
    options = {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2}
    return build('vit', {**options, 'mlp_dim': 12, 'num_classes': 3})


def test_a_flax_vit_opens(tmp_path, network):
    random = np.random.default_rng(0)
    leaves = {
        key: random.normal(size=leaf.shape).astype(np.float32)
        for key, leaf in leaf_shapes(network).items()
    }
    names = dict(VIT)
    for block in range(2):
        for ours, theirs in LAYER.items():
            names[f'params/block_{block:02d}/{ours}'] = f'vit/encoder/layer/{block}/{theirs}'
    assert names.keys() == leaves.keys()
    variables = unflatten({key: jnp.asarray(leaf) for key, leaf in leaves.items()})
    save_huggingface(tmp_path, network, variables, Preprocessing(image_size=(8, 8)))
    (tmp_path / 'model.safetensors').unlink()
    # Flax's layout is ours: the values go in unchanged, under the old names.
    tree = unflatten({names[key]: leaf for key, leaf in leaves.items()})
    (tmp_path / 'flax_model.msgpack').write_bytes(flax.serialization.msgpack_serialize(tree))
    found = load_pretrained(str(tmp_path))
    assert found.report.family == 'vit (Flax)'
    assert found.report.loaded.keys() == leaves.keys()
    for key, leaf in flatten(found.variables).items():
        assert np.asarray(leaf).tobytes() == leaves[key].tobytes()
    assert json.loads((tmp_path / 'config.json').read_text())['model_type'] == 'vit'


def as_flax(name, tensor, of_norm='scale'):
    """A tensor of a PyTorch file as transformers 4 converted it to Flax: names and layout."""
    *modules, word = name.split('.')
    group = 'batch_stats' if word.startswith('running_') else 'params'
    word = word.removeprefix('running_')
    if word == 'weight' and modules[-1] in TABLES:
        word = 'embedding'
    elif word == 'weight' and tensor.ndim == 1:
        word = of_norm
    elif word == 'weight':
        word, tensor = 'kernel', tensor.transpose((2, 3, 1, 0) if tensor.ndim == 4 else (1, 0))
    return group, '/'.join([*modules, word]), tensor


TABLES = (
    *('word_embeddings', 'position_embeddings', 'token_type_embeddings'),
    *('wte', 'wpe', 'position_embedding', 'embed_tokens'),
)


@pytest.mark.parametrize(
    'golden',
    [
        *('bert', 'roberta', 'electra', 'distilbert', 'gpt2_lm', 'llama_lm', 'mistral'),
        *('resnet_bottleneck', 'clip', 'dinov2'),
    ],
)
def test_each_family_that_flax_had_opens(golden, tmp_path):
    """Real files of transformers in the old form: the same network, bit for bit."""
    folder = GOLDENS / golden / 'model'
    shutil.copy(folder / 'config.json', tmp_path)
    groups = {'params': {}, 'batch_stats': {}}
    for name, tensor in load_file(folder / 'model.safetensors').items():
        if not name.endswith('num_batches_tracked'):
            word = 'weight' if golden in ('llama_lm', 'mistral') else 'scale'
            group, renamed, value = as_flax(name, tensor, word)
            groups[group][renamed] = value
    # Only models with running statistics were saved with the two groups apart.
    tree = groups if groups['batch_stats'] else groups['params']
    tree = unflatten(flatten(tree))
    data = flax.serialization.msgpack_serialize(tree)
    (tmp_path / 'flax_model.msgpack').write_bytes(data)
    found, expected = load_pretrained(str(tmp_path)), load_pretrained(str(folder))
    assert found.report.family.endswith('(Flax)') and found.network == expected.network
    leaves = flatten(found.variables)
    assert leaves.keys() == flatten(expected.variables).keys()
    for key, leaf in flatten(expected.variables).items():
        np.testing.assert_array_equal(leaves[key], leaf, err_msg=key)


TEXT = KeyMap(
    'toy',
    (
        Rule('bert.embeddings.word_embeddings.weight', 'embed/word/embedding'),
        *norm('bert.embeddings.LayerNorm', 'embed/norm'),
        *dense('bert.encoder.layer.{i}.attention.self.query', 'block_{i:02d}/attn/query'),
        *batch_norm('resnet.embedder.normalization', 'stem/norm'),
        Rule(
            'transformer.h.{i}.attn.c_attn.weight',
            tuple(f'block_{{i:02d}}/attn/{part}/kernel' for part in ('q', 'k', 'v')),
            split=1,
        ),
    ),
    unused=(r'cls\.predictions\..*',),
    prefixes=('bert.',),
)


@pytest.mark.parametrize(
    'name, key',
    [
        ('bert/embeddings/word_embeddings/embedding', 'params/embed/word/embedding'),
        ('embeddings/LayerNorm/scale', 'params/embed/norm/scale'),
        ('params/bert/embeddings/LayerNorm/bias', 'params/embed/norm/bias'),
        ('bert/encoder/layer/1/attention/self/query/kernel', 'params/block_01/attn/query/kernel'),
        ('batch_stats/resnet/embedder/normalization/var', 'batch_stats/stem/norm/var'),
        ('params/resnet/embedder/normalization/scale', 'params/stem/norm/scale'),
    ],
)
def test_names(name, key):
    match = flax_names(TEXT).match(name)
    assert match.keys == (key,)
    tensor = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(match.rule.forward(tensor)[0], tensor)


def test_unused_names_follow():
    assert flax_names(TEXT).is_unused('cls/predictions/bias')
    assert not flax_names(TEXT).is_unused('cls/other')


def test_conv1d_of_gpt2_is_transposed():
    kernel = np.arange(24.0).reshape(2, 12)  # (in, 3 x out), as PyTorch's Conv1D has it
    torch = TEXT.match('transformer.h.0.attn.c_attn.weight')
    flax = flax_names(TEXT).match('transformer/h/0/attn/c_attn/kernel')
    assert torch.keys == flax.keys
    for left, right in zip(torch.rule.forward(kernel), flax.rule.forward(kernel.T), strict=True):
        np.testing.assert_array_equal(left, right)
