"""The stage contract declares whatever is read of a network, and every family answers it."""

import ast
import pathlib

import jax.numpy as jnp
import pytest

from ftjax.errors import UserError
from ftjax.models.adapters.adapted import Adapted, adapted
from ftjax.models.adapters.lora import LoRA
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.registry import parts

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / 'ftjax'
# Flax wraps properties.
PROPERTIES = {
    name: value
    for name, value in vars(Network).items()
    if isinstance(getattr(value, 'wrapped', value), property) and not name.startswith('_')
}
ANSWERS = {
    'num_classes': int,
    'vocab_size': int | None,
    'max_positions': int | None,
    'longest_text': int | None,
    'token_types': int,
    'pad_id': int | None,
    'is_lm': bool,
    'end_ids': tuple,
    'is_decoder': bool,
    'head_kind': str,
    'takes_tags': bool,
    'is_dense': bool,
    'tapped': tuple,
    'ties': dict,
    'grid': tuple | None,
    'offset_grid': tuple | None,
    'noiseless': bool,
    'takes': str,
    'target_scale': float,
    'table_codes': tuple,
    'is_reconstruction': bool,
    'made_of': tuple,
    'runs': dict,
    'vocabulary_leaves': tuple,
    'is_local': bool,
    'stages': tuple,
    'blocks': tuple,
    'sections': tuple,
}


class Plain(Network):
    """A network of a user's own that declares nothing."""

    num_classes: int = 3


def reads(tree):
    """(line, attribute or None) of what is read of a network: None for getattr and hasattr."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ('getattr', 'hasattr'):
            if is_network(node.args[0]) and isinstance(node.args[1], ast.Constant):
                yield node.lineno, None
        elif isinstance(node, ast.Attribute) and is_network(node.value):
            yield node.lineno, node.attr


def is_network(node):
    text = ast.unparse(node)
    return text.split('.')[-1] in ('network', 'plain') or text.startswith('plain_network(')


def test_the_contract_is_what_this_test_knows():
    linens = {'path', 'scope', 'variables'}
    assert set(PROPERTIES) - linens == set(ANSWERS)
    assert all(value.__doc__ for value in PROPERTIES.values())


def test_nothing_is_read_of_a_network_that_the_contract_does_not_declare():
    known = {name for name in dir(Network) if not name.startswith('_')}
    own = {'adapters', 'base', 'base_options', 'network'}  # of Adapted
    families = (PACKAGE / 'models', PACKAGE / 'pretrained/families', PACKAGE / 'pretrained/keymaps')
    found = []
    for path in PACKAGE.rglob('*.py'):
        within = any(path.is_relative_to(folder) for folder in families)
        for line, name in reads(ast.parse(path.read_text())):
            if name is None or (not within and name not in known | own):
                found.append(f'{path.relative_to(PACKAGE)}:{line} {name or "getattr"}')
    assert not found


# A network of a model built elsewhere says of itself what that model is: tests/models/test_nnx.py.
@pytest.mark.parametrize('family', sorted(set(parts('model')) - {'built'}))
def test_every_family_answers_with_the_declared_types(family):
    network = build(family)
    for name, kind in ANSWERS.items():
        assert isinstance(getattr(network, name), kind), name


@pytest.mark.parametrize('family', ['vit', 'swin', 'bert', 'gpt2', 'mlp'])
def test_adapters_change_nothing_of_what_a_network_says_of_itself(family):
    text = {'num_classes': 0, 'head': 'lm'} if family in ('bert', 'gpt2') else {}
    network = build(family, text)
    made = adapted(network, [LoRA(rank=2)])
    for name in set(ANSWERS) - {'noiseless'}:  # not known of adapters
        assert getattr(made, name) == getattr(network, name), name
    assert set(ANSWERS) - set(vars(Adapted)) == {'noiseless'}


def test_positions_below_the_padding_hold_no_text():
    assert build('bert').longest_text == 512
    assert build('roberta', {'pad_id': 1, 'max_positions': 514}).longest_text == 512
    assert build('gpt2', {'pad_id': 1}).longest_text == 1024


def test_a_network_of_a_users_own_has_the_defaults():
    network = Plain()
    assert (network.vocab_size, network.grid, network.ties) == (None, None, {})
    assert (network.is_lm, network.noiseless, network.num_classes) == (False, False, 3)


@pytest.mark.parametrize(
    ('name', 'read'),
    [
        ('stages', lambda network: network.stages),
        ('make_stage', lambda network: network.make_stage('head')),
        ('example_input', lambda network: network.example_input()),
        ('stages', lambda network: network.apply({}, jnp.zeros((1, 2)))),
    ],
)
def test_a_network_without_a_part_of_the_contract_is_an_error_that_names_it(name, read):
    with pytest.raises(UserError, match=f"Plain .* does not define '{name}'"):
        read(Plain())


def test_a_declared_field_needs_a_default():
    with pytest.raises(UserError, match="network Own: the field 'vocab_size' needs a default"):

        class Own(Network):
            vocab_size: int
