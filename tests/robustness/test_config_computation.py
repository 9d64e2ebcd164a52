"""No field of a config.json that changes the computation is passed over in silence."""

import functools
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.models.layers.attention import attend
from ftjax.pretrained import families
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.inspection import inspect
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.relatives import _OF_KIND, KIND_OF, KINDS, NEAREST

GOLDENS = Path(__file__).parents[1] / 'pretrained' / 'goldens'
FILE = Path('config.json')
TEXT = {
    'vocab_size': 20,
    'hidden_size': 16,
    'intermediate_size': 24,
    'num_hidden_layers': 1,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
}
DECODERS = {
    'gpt2': {'vocab_size': 20, 'n_embd': 16, 'n_layer': 1, 'n_head': 4, 'n_positions': 8},
    'llama': TEXT,
    'mistral': TEXT | {'sliding_window': 6},
    'qwen2': TEXT,
    'qwen3': TEXT | {'head_dim': 4},
    'olmo2': TEXT,
    'phi3': TEXT,
    'gemma': TEXT | {'head_dim': 4},
}
# Programs that run once: what the compiler saves is more than what it makes faster.
quick_jit = functools.partial(
    jax.jit,
    compiler_options={
        'xla_backend_optimization_level': 0,
        'xla_llvm_disable_expensive_passes': True,
    },
)
ENCODERS = ['bert', 'roberta', 'electra', 'distilbert', 'vit', 'clip_vision_model', 'swin']


def open_config(config):
    """(network, notes) of a config.json."""
    family = families.family_of_config(config)
    checked, notes = check_config(family, config, FILE)
    return families.module(family).network_from_config(checked), notes


def refused(config):
    with pytest.raises(UserError) as error:
        open_config(config)
    return str(error.value)


@pytest.mark.parametrize('model_type', DECODERS)
def test_the_first_token_sees_later_ones_iff_not_causal(model_type):
    config = {'model_type': model_type, **DECODERS[model_type]}
    causal, both = (open_config({**config, 'is_causal': value})[0] for value in (True, False))
    assert open_config(config)[0] == causal != both
    ids = np.asarray([[3, 4, 5, 6, 7, 8]], np.int32)
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(causal.init, jax.random.key(0), {'input_ids': ids})
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape, scale=0.5), shapes)
    # Four texts: as they are and with another last token, and both with that token as padding.
    ids = np.concatenate([ids] * 4)
    ids[1::2, 5] = 9
    mask = np.ones_like(ids)
    mask[2:, 5] = 0
    for network in (causal, both):
        run = quick_jit(lambda v, inputs, n=network: n.apply(v, inputs, stop='norm')['hidden'])
        first = run(variables, {'input_ids': ids, 'attention_mask': mask})[:, 0]
        assert (float(jnp.abs(first[0] - first[1]).max()) > 1e-3) == (network is both)
        np.testing.assert_array_equal(first[2], first[3])


@pytest.mark.parametrize(('window', 'sees'), [(0, [3]), (1, [2, 3, 4]), (4, [0, 1, 2, 3, 4, 5])])
def test_a_window_on_both_sides(window, sees):
    """Equal scores: the output is the mean of the values seen."""
    value = (2.0 ** np.arange(6)).reshape(1, 6, 1, 1)
    flat = np.zeros((1, 6, 1, 1), np.float32)
    run = quick_jit(attend, static_argnames='window')
    np.testing.assert_allclose(
        run(flat, flat, value, window=window)[0, 3, 0, 0],
        np.mean([2.0**i for i in sees]),
        rtol=1e-6,
    )
    # One query stands at the end.
    np.testing.assert_allclose(
        run(flat[:, 3:4], flat, value, window=window)[0, 0, 0, 0],
        np.mean([2.0**i for i in range(max(0, 5 - window), 6)]),
        rtol=1e-6,
    )


@pytest.mark.parametrize('model_type', DECODERS)
def test_what_a_decoder_sees_is_written_back(model_type):
    network, _ = open_config({'model_type': model_type, **DECODERS[model_type], 'is_causal': False})
    written = families.module(families.family_of_network(network)).config_from_network(network, ())
    assert written['is_causal'] is False
    assert not open_config(json.loads(json.dumps(written)))[0].causal


@pytest.mark.parametrize('value', [None, 0, 'false'])
def test_is_causal_is_true_or_false(value):
    message = refused({'model_type': 'llama', **TEXT, 'is_causal': value})
    assert f'is_causal must be true or false, not {value!r}' in message


@pytest.mark.parametrize('model_type', ENCODERS)
def test_encoders_are_never_causal(model_type):
    """transformers 5 has two answers for is_causal: true, by its way of attention."""
    assert f'{model_type} with is_causal=True' in refused(
        {'model_type': model_type, 'is_causal': True}
    )
    open_config({'model_type': model_type, 'is_causal': False})


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'model_type': 'gpt2', 'scale_attn_weights': None}, 'scale_attn_weights=None'),
        ({'model_type': 'gpt2', 'add_cross_attention': True}, 'add_cross_attention=True'),
        ({'model_type': 'bert', 'is_decoder': True}, 'is_decoder=True'),
        ({'model_type': 'bert', 'pruned_heads': {'0': [1]}}, 'pruned_heads='),
        ({'model_type': 'qwen2', 'quantization_config': {'bits': 4}}, 'quantization_config='),
        ({'model_type': 'llama', 'per_layer_config': {'0': {}}}, 'per_layer_config='),
        # Fields of relatives: the file was written for another network.
        (
            {'model_type': 'llama', 'sliding_window': 4096},
            'and not of llama, which would leave it out',
        ),
        ({'model_type': 'qwen2', 'mlp_bias': True}, 'llama and not of qwen2'),
        ({'model_type': 'vit', 'head_dim': 32}, 'head_dim=32'),
        ({'model_type': 'distilbert', 'layer_norm_eps': 1e-5}, 'layer_norm_eps=1e-05'),
        ({'model_type': 'bert', 'rope_theta': 1e4}, 'rope_theta=10000.0'),
        ({'model_type': 'llama', 'unpadded_vocab_size': 7}, 'read by transformers for llama'),
        # Two fields that contradict each other.
        ({'model_type': 'gpt2', 'n_head': 12, 'num_attention_heads': 4}, 'two names of one field'),
        ({'model_type': 'convnext', 'depths': [1, 2], 'num_stages': 3}, 'num_stages 3'),
        ({'model_type': 'mistral', 'layer_types': ['full_attention'] * 32}, 'layer_types'),
        ({'model_type': 'qwen3', 'layer_types': ['sliding_attention'] * 32}, 'layer_types'),
        (
            {
                'model_type': 'llama',
                'rope_scaling': {'rope_type': 'linear', 'factor': 2.0},
                'rope_parameters': {'rope_type': 'linear', 'factor': 4.0},
            },
            'factor is 2.0 in rope_scaling and 4.0 in rope_parameters',
        ),
        (
            {'model_type': 'qwen3', 'rope_parameters': {'full_attention': {'rope_theta': 1e6}}},
            "an entry of its own for 'full_attention'",
        ),
        ({'model_type': 'llama', 'rope_scaling': [1]}, 'rope_scaling must be a JSON object'),
        ({'model_type': 'llama', 'rope_scaling': {'type': 'linear'}}, 'factor of the rotary'),
        ({'model_type': 'llama', 'rope_theta': 'x'}, 'rope_theta of the rotary'),
        ({'model_type': 'qwen3', 'num_hidden_layers': 10**9, 'layer_types': ['x']}, 'layer_types'),
        # Within a nested configuration.
        ({'model_type': 'clip', 'vision_config': {'is_causal': True}}, 'is_causal=True'),
        ({'model_type': 'siglip', 'vision_config': {'qkv_bias': 1}}, 'qkv_bias=1'),
        ({'model_type': 'clip', 'vision_config': 3}, 'vision_config must be a JSON object'),
        # The checkpoint's own code under a known name.
        (
            {
                'model_type': 'bert',
                'architectures': ['JinaBertModel'],
                'auto_map': {'AutoModel': 'x'},
            },
            'JinaBertModel is code of the checkpoint',
        ),
        # timm pools these otherwise by default.
        ({'architecture': 'resnet50', 'global_pool': 'max'}, "only 'avg' is"),
        ({'architecture': 'convnext_tiny', 'global_pool': ''}, "only 'avg' is"),
    ],
)
def test_is_refused_with_its_name(config, message):
    assert message in refused(config)


def test_other_names_of_a_field_count():
    """transformers takes the usual names for those of GPT-2, DistilBERT and Swin."""
    network, _ = open_config({'model_type': 'gpt2', 'hidden_size': 64, 'num_attention_heads': 4})
    assert (network.width, network.heads) == (64, 4)
    network, _ = open_config({'model_type': 'distilbert', 'num_hidden_layers': 3, 'n_layers': 3})
    assert network.depth == 3
    network, _ = open_config({'model_type': 'swin', 'num_attention_heads': [1, 2, 4, 8]})
    assert network.heads == (1, 2, 4, 8)


def test_the_first_versions_of_clip_name_the_tower_twice():
    """The older field wins, its defaults included, as in transformers."""
    both = {'vision_config': {'hidden_size': 64, 'num_attention_heads': 4}}
    older = {'vision_config_dict': {'hidden_size': 96, 'patch_size': 16}}
    network, _ = open_config({'model_type': 'clip', **both, **older})
    assert (network.width, network.heads, network.patch_size) == (96, 12, 16)
    network, _ = open_config({'model_type': 'clip', **both, 'vision_config_dict': None})
    assert (network.width, network.heads, network.patch_size) == (64, 4, 32)
    assert open_config({'model_type': 'clip', 'vision_config': None})[0].width == 768


# Beyond the fields of the present classes, what files of published checkpoints hold.
BERT_EXTRAS = {
    'directionality': 'bidi',
    'pooler_fc_size': 768,
    'pooler_num_attention_heads': 12,
    'pooler_num_fc_layers': 3,
    'pooler_size_per_head': 128,
    'pooler_type': 'first_token_transform',
    'position_embedding_type': 'absolute',
    'gradient_checkpointing': False,
}
GENERATION = {'do_sample': True, 'max_length': 50, 'top_p': 0.9, 'temperature': 0.7}
PUBLISHED = {
    'bert': BERT_EXTRAS,
    'roberta': {'position_embedding_type': 'absolute', 'bos_token_id': 0, 'sep_token_id': 2},
    'xlm-roberta': {'output_past': True, 'position_embedding_type': 'absolute'},
    'camembert': {'output_past': True, 'is_decoder': False},
    'electra': {'summary_type': 'first', 'summary_use_proj': True, 'summary_last_dropout': 0.1},
    'distilbert': {'tie_weights_': True, 'output_past': True, 'qa_dropout': 0.1},
    'gpt2': {
        'n_ctx': 1024,
        'task_specific_params': {'text-generation': GENERATION},
        'summary_type': 'cls_index',
        'reorder_and_upcast_attn': False,
        **GENERATION,
    },
    'llama': {
        'pretraining_tp': 1,
        'rope_scaling': None,
        'rope_theta': 500000.0,
        'attention_bias': False,
        'mlp_bias': False,
        'sliding_window': None,
        **GENERATION,
    },
    'mistral': {'sliding_window': None, 'head_dim': None, 'attention_bias': False},
    'qwen2': {'use_mrope': False, 'max_window_layers': 28, 'sliding_window': 131072},
    'qwen3': {'rope_scaling': None, 'rope_theta': 1000000, 'attention_bias': False},
    'gemma': {'hidden_act': 'gelu', 'hidden_activation': None, 'head_dim': 256, **GENERATION},
    'gemma2': {
        'hidden_act': 'gelu_pytorch_tanh',
        'cache_implementation': 'hybrid',
        'sliding_window_size': None,
        'query_pre_attn_scalar': 256,
    },
    'gemma3_text': {
        '_sliding_window_pattern': 6,
        'sliding_window_pattern': 6,
        'attn_logit_softcapping': None,
        'cache_implementation': 'hybrid',
        'rope_local_base_freq': 10000,
        'rope_scaling': None,
        'use_bidirectional_attention': False,
    },
    'olmo2': {'rope_scaling': None, 'attention_bias': False, 'pad_token_id': 100277},
    'phi3': {'rope_scaling': None, 'sliding_window': None, 'embd_pdrop': 0.0, 'head_dim': None},
    'vit': {'encoder_stride': 16, 'pooler_act': 'tanh', 'pooler_output_size': 768},
    'deit': {'encoder_stride': 16},
    'dinov2': {'out_features': ['stage12'], 'out_indices': [12], 'stage_names': ['stem']},
    'dinov2_with_registers': {'interpolate_antialias': True, 'interpolate_offset': 0.0},
    'clip': {
        'text_config': {'num_return_sequences': 1, 'hidden_size': 512},
        'text_config_dict': None,
        'vision_config': {'dropout': 0.0, 'model_type': 'clip_vision_model', **GENERATION},
        'logit_scale_init_value': 2.6592,
    },
    'siglip': {'text_config': {}, 'vision_config': {'model_type': 'siglip_vision_model'}},
    'swin': {'path_norm': True, 'num_layers': 4, 'hidden_size': 768, 'encoder_stride': 32},
    'convnext': {'out_features': ['stage4'], 'stage_names': ['stem'], 'num_stages': 4},
    'resnet': {'out_features': ['stage4'], 'image_size': 224},
}
ALL = {
    'transformers_version': '4.31.0',
    'torch_dtype': 'float32',
    '_name_or_path': 'somebody/something',
    'architectures': None,
    'id2label': {'0': 'ant', '1': 'bee'},
    'label2id': {'ant': 0, 'bee': 1},
    'problem_type': 'single_label_classification',
    'use_cache': False,
    'output_attentions': True,
    '_attn_implementation_autoset': True,
    '_flash_attn_2_enabled': True,
    'finetuning_task': 'sst2',
    'initializer_range': 0.01,
    'chunk_size_feed_forward': 8,
}


@pytest.mark.parametrize('model_type', PUBLISHED)
def test_what_published_files_hold_changes_nothing(model_type):
    extras = {**ALL, **PUBLISHED[model_type]}
    for name in ('rope_theta', 'pad_token_id'):  # values that count, and are read
        extras.pop(name, None)
    network, _ = open_config({'model_type': model_type, **extras})
    named = {'id2label': ALL['id2label'], 'model_type': model_type}
    if model_type == 'mistral':
        named['sliding_window'] = None
    assert network == open_config(named)[0]
    open_config({'model_type': model_type, **ALL, **PUBLISHED[model_type]})


def test_fields_that_nothing_reads_are_named():
    config = {'model_type': 'bert', 'pinyin_map_len': 32, 'note': 'x', '_private': 1, 'later': None}
    _, notes = open_config(config)
    assert notes[-1] == 'config.json: fields without effect: pinyin_map_len, note'


def test_noise_that_is_not_applied_is_in_the_load_report(tmp_path):
    """Whether the file tells it or leaves it to the class's default."""
    folder = shutil.copytree(GOLDENS / 'gpt2' / 'model', tmp_path / 'gpt2')
    config = json.loads((folder / 'config.json').read_text())
    del config['attn_pdrop']
    (folder / 'config.json').write_text(json.dumps({**config, 'embd_pdrop': 0.3}))
    wanted = 'config.json: resid_pdrop=0.1 is used for embd_pdrop=0.3'
    found = load_pretrained(str(folder))
    assert found.report.notes[0] == inspect(str(folder)).report.notes[0] == wanted
    assert found.network.attention_dropout == 0.1
    folder = shutil.copytree(GOLDENS / 'dinov3' / 'model', tmp_path / 'dinov3')
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, 'pos_embed_shift': 0.2}))
    assert any('pos_embed_shift=0.2 is not applied' in n for n in inspect(str(folder)).report.notes)


@pytest.mark.parametrize(
    'model_type',
    ['t5', 'gemma3n', 'mixtral', 'qwen2_moe', 'deberta', 'vit_msn', 'phimoe', 'segformer'],
)
def test_other_families_are_refused_by_name(model_type):
    with pytest.raises(UserError, match=f"no family for model type '{model_type}'"):
        families.family_of_config({'model_type': model_type, 'architectures': ['SomeModel']})


@pytest.mark.parametrize(
    ('model_type', 'told', 'not_told'),
    [
        ('opt', 'it is a decoder of text; of that kind are llama', 'did you mean'),
        ('data2vec-vision', 'beit has its form', 'deit'),
        ('gemma3', 'gemma3_text is its language model alone', 'did you mean'),
        ('mixtral', 'mistral is it without experts', 'did you mean'),
        ('t5', 'there is none of that kind', 'did you mean'),
        ('bertt', 'known are albert, beit, bert,', 'did you mean'),
        ('', 'known are albert', 'did you mean'),
    ],
)
def test_relatives_are_named_by_kinship(model_type, told, not_told):
    with pytest.raises(UserError) as error:
        families.family_of_config({'model_type': model_type, 'architectures': ['SomeModel']})
    assert told in str(error.value)
    assert not_told not in str(error.value)


def test_relatives_are_no_families_and_their_kinds_are():
    known = {name for row in families.rows().values() for name in row.model_types}
    assert not known & (set(KIND_OF) | set(NEAREST))
    assert {name for names in KINDS.values() for name in names} <= known
    assert sum(len(names.split()) for names in _OF_KIND.values()) == len(KIND_OF)
