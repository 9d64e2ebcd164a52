"""Dropout of attention weights: what it does to the product, and in which stages it acts."""

import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.api import finetune
from ftjax.leaves import flatten, unflatten
from ftjax.models.layers.attention import attend, weight_dropout
from ftjax.models.registry import build
from ftjax.models.stages import EVAL, TRAIN
from ftjax.pretrained import families
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.open import load_pretrained

CONFIG = {'vocab_size': 40, 'width': 16, 'depth': 2, 'heads': 2, 'num_classes': 3}
IMAGES = {'image_size': 16, 'patch_size': 8, 'width': 16, 'depth': 2, 'heads': 2, 'num_classes': 3}
NO_OTHER = {'dropout': 0.0, 'head_dropout': 0.0, 'drop_path': 0.0}
SMALL = {
    'vit': IMAGES,
    'beit': IMAGES,
    'dinov3': {**IMAGES, 'width': 16},
    'swin': {
        **{k: v for k, v in IMAGES.items() if k != 'depth'},
        'patch_size': 4,
        'depths': (2,),
        'heads': (2,),
        'window': 2,
    },
    'swinv2': {
        **{k: v for k, v in IMAGES.items() if k != 'depth'},
        'patch_size': 4,
        'depths': (2,),
        'heads': (2,),
        'window': 2,
        'pretrained_windows': (0,),
    },
    'bert': {**CONFIG, 'mlp_dim': 24, 'max_positions': 16},
    'albert': {**CONFIG, 'mlp_dim': 24, 'max_positions': 16, 'embedding_size': 8},
    'mpnet': {**CONFIG, 'mlp_dim': 24, 'max_positions': 16},
    'deberta': {**CONFIG, 'mlp_dim': 24, 'max_positions': 16, 'relative': True},
    'modernbert': {**CONFIG, 'mlp_dim': 24},
    'gpt2': {**CONFIG, 'max_positions': 16},
    'llama': {**CONFIG, 'mlp_dim': 24},
    'gemma': {**CONFIG, 'mlp_dim': 24, 'head_dim': 8},
}
QUICK = ('vit', 'bert', 'llama')


def test_dropped_weights_leave_the_sum_and_the_others_grow():
    """Against the product written out: softmax, then the mask, over the share that is kept."""
    random = np.random.default_rng(0)
    query, key, value = (random.normal(size=(2, 5, 3, 4)).astype(np.float32) for _ in range(3))
    kept = random.random((6, 5, 5)) < 0.6
    out = attend(*map(jnp.asarray, (query, key, value)), drop=lambda w: jnp.where(kept, w / 0.6, 0))
    scores = np.einsum('bthd,bkhd->bhtk', query, key) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    weights = np.where(kept.reshape(2, 3, 5, 5), weights / 0.6, 0)
    expected = np.einsum('bhtk,bkhd->bthd', weights, value)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_nothing_is_dropped_where_the_mode_is_deterministic_or_the_rate_is_0():
    assert weight_dropout(0.5, EVAL) is None
    assert weight_dropout(0.0, TRAIN) is None


def network_of(name):
    fields = {field.name for field in dataclasses.fields(build(name, SMALL[name]))}
    zero = {k: v for k, v in NO_OTHER.items() if k in fields}
    zero |= {'mlp_dropout': 0.0} if 'mlp_dropout' in fields else {}
    network = build(name, {**SMALL[name], **zero, 'attention_dropout': 0.5})
    random = np.random.default_rng(0)
    leaves = {
        key: jnp.asarray(random.normal(size=leaf.shape) * 0.5, jnp.float32)
        for key, leaf in leaf_shapes(network).items()
    }
    return network, unflatten(leaves)


@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=() if n in QUICK else (pytest.mark.slow,)) for n in SMALL]
)
def test_it_acts_in_the_stages_that_train_and_in_no_other(name):
    network, variables = network_of(name)
    assert not network.noiseless
    inputs = jax.tree.map(lambda x: jnp.ones_like(x), network.example_input(2))
    last = network.blocks[-1]

    @functools.partial(jax.jit, static_argnums=1)
    def run(key, trained):
        modes = dict.fromkeys(network.stages, TRAIN) if trained else {last: TRAIN}
        _, seen = network.apply(
            variables, inputs, modes=modes, taps=network.blocks, rngs={'dropout': key}
        )
        return {stage: state['hidden'] for stage, state in seen.items()}

    _, still = network.apply(variables, inputs, taps=network.blocks)
    one, again, other = (run(jax.random.key(seed), False) for seed in (0, 0, 1))
    for stage in network.blocks[:-1]:
        np.testing.assert_allclose(one[stage], still[stage]['hidden'], atol=1e-5)
    np.testing.assert_array_equal(one[last], again[last])
    assert np.abs(one[last] - other[last]).max() > 1e-3
    assert np.abs(one[last] - still[last]['hidden']).max() > 1e-3
    if len(network.blocks) > 1:
        first = network.blocks[0]
        whole = run(jax.random.key(0), True)
        assert np.abs(whole[first] - still[first]['hidden']).max() > 1e-3


@pytest.mark.slow
def test_a_cached_run_drops_what_the_uncached_drops(tmp_path):
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / 'x.npz',
        x=random.integers(0, 256, (40, 24, 24, 1), np.uint8),
        y=random.integers(0, 3, 40),
    )
    weights = []
    for cached in ('off', 'on'):
        run = finetune(
            'glyphs_cls',
            f'npz:{tmp_path / "x.npz"}',
            freeze='last:1',
            model={'attention_dropout': 0.3},
            train={'steps': 5, 'cache': cached, 'report': False},
            data_settings={'batch_size': 8},
        )
        run.run(tmp_path / cached, progress=False)
        config = json.loads(pathlib.Path(tmp_path, cached, 'config.json').read_text())
        assert config['model'] == {'attention_dropout': 0.3}
        weights.append(flatten(load_pretrained(str(tmp_path / cached)).variables))
    for key, leaf in weights[0].items():
        np.testing.assert_allclose(leaf, weights[1][key], atol=1e-6, err_msg=key)


def test_every_family_with_such_a_field_reads_it_and_writes_it():
    told = 0
    for family in families.rows():
        module = families.module(family)
        for model_type, fields in getattr(module, 'FIELDS', {}).items():
            name = set(fields.reads) & {
                'attention_probs_dropout_prob',
                'attention_dropout',
                'attn_pdrop',
            }
            if not name or model_type.endswith('_vision_model'):
                continue
            config = {'model_type': model_type, name.pop(): 0.375}
            network = module.network_from_config(config, num_classes=0)
            assert network.attention_dropout == 0.375, model_type
            written = json.dumps(module.config_from_network(network, ()))
            assert '0.375' in written, model_type
            told += 1
    assert told >= 25
