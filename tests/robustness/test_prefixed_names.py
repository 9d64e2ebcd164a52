"""Weights under the prefixes that DDP, torch.compile and wrappers leave on their names."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ftjax.errors import UserError
from ftjax.pretrained.inspection import inspect
from ftjax.pretrained.open import load_pretrained

GOLDENS = Path(__file__).parents[1] / 'pretrained' / 'goldens'


def renamed(golden, folder, rename):
    """A copy of a golden's model under other names of tensors."""
    copy = Path(shutil.copytree(GOLDENS / golden / 'model', folder))
    tensors = load_file(copy / 'model.safetensors')
    save_file({rename(k): v for k, v in tensors.items()}, copy / 'model.safetensors')
    return copy


PREFIXES = ('module.', '_orig_mod.', 'backbone.', 'model.', 'module._orig_mod.', 'net.a.b.')


@pytest.mark.parametrize(
    ('golden', 'prefix'),
    [
        *(('bert_minilm', prefix) for prefix in PREFIXES),
        ('llama', '_orig_mod.'),
        ('swin_odd', 'backbone.'),
    ],
)
def test_a_prefix_that_all_names_have_is_left_off(golden, prefix, tmp_path):
    folder = renamed(golden, tmp_path / 'model', lambda name: prefix + name)
    want = load_pretrained(str(GOLDENS / golden / 'model'))
    found = load_pretrained(str(folder))
    assert found.network == want.network
    jax.tree.map(np.testing.assert_array_equal, found.variables, want.variables)
    note = f'the names of all tensors begin with {prefix!r}, which is left off'
    assert note in found.report.notes
    assert note in inspect(str(folder)).report.notes
    assert note not in want.report.notes


@pytest.mark.parametrize('golden', ['vit_torchvision', 'resnet_torchvision', 'vit_timm'])
def test_also_where_names_alone_tell_the_family(golden, tmp_path):
    folder = renamed(golden, tmp_path / 'model', lambda name: f'_orig_mod.{name}')
    want = load_pretrained(str(GOLDENS / golden / 'model'))
    found = load_pretrained(str(folder))
    jax.tree.map(np.testing.assert_array_equal, found.variables, want.variables)
    assert any("begin with '_orig_mod.'" in note for note in found.report.notes)


def test_names_that_share_a_part_by_right_keep_it():
    """A base model's names all begin with 'model.' or 'encoder.' in some families."""
    for golden in ('llama_lm', 'bert_minilm', 'siglip', 'clip'):
        notes = load_pretrained(str(GOLDENS / golden / 'model')).report.notes
        assert not any('begin with' in note for note in notes)


def test_our_own_format_too(tmp_path):
    home = Path(__file__).parents[2] / 'ftjax' / 'pretrained' / 'weights' / 'glyphs'
    config = json.loads((home / 'config.json').read_text())
    tensors = load_file(home / 'model.safetensors')
    save_file({f'module.{k}': v for k, v in tensors.items()}, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(config))
    # The hash beside the weights comes first, and the error says what to do.
    with pytest.raises(UserError, match=r'remove weights_sha256 from config\.json'):
        load_pretrained(str(tmp_path))
    del config['weights_sha256']
    (tmp_path / 'config.json').write_text(json.dumps(config))
    found = load_pretrained(str(tmp_path))
    assert any("begin with 'module.'" in note for note in found.report.notes)


@pytest.mark.parametrize(
    ('rename', 'message'),
    [
        (
            lambda name: name if name.startswith('classifier') else f'backbone.{name}',
            r"begin with 'backbone\.' and the others, as 'classifier\.",
        ),
        (
            lambda name: name if 'layer.0' in name else f'module._orig_mod.{name}',
            r"begin with 'module\._orig_mod\.' and the others, as '.*layer\.0",
        ),
        (
            lambda name: f'{"ema" if "bias" in name else "net"}.{name}',
            r"begin with 'net\.' and the others, as 'ema\.",
        ),
    ],
)
def test_a_prefix_on_some_names_is_an_error_that_says_what_to_do(rename, message, tmp_path):
    folder = renamed('bert', tmp_path / 'model', rename)
    with pytest.raises(UserError, match=message) as error:
        load_pretrained(str(folder))
    assert 'save_file({name.removeprefix(' in str(error.value)
    assert '\n' not in str(error.value)


def test_a_prefix_is_no_way_round_strictness(tmp_path):
    """What is missing, or not explained, is still an error under the names without the prefix."""
    folder = renamed('bert', tmp_path / 'model', lambda name: f'module.{name}')
    tensors = load_file(folder / 'model.safetensors')
    gone = next(name for name in tensors if name.endswith('layer.1.output.dense.weight'))
    save_file({k: v for k, v in tensors.items() if k != gone}, folder / 'model.safetensors')
    with pytest.raises(UserError, match=r'layer\.1\.output\.dense\.weight.* is missing'):
        load_pretrained(str(folder))
    save_file({**tensors, 'module.other': np.ones(2)}, folder / 'model.safetensors')
    with pytest.raises(UserError, match=r"'other' is not explained"):
        load_pretrained(str(folder))
