"""What `from_nnx` and `from_linen` are given wrongly is said in one line, before anything runs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from ftjax.errors import UserError
from ftjax.models import from_linen, from_nnx
from ftjax.pretrained.open import load_pretrained
from ftjax.registry import PARTS, parts, register


class Pair(nnx.Module):
    def __init__(self, width, rngs):
        self.body = nnx.Linear(4, width, rngs=rngs)
        self.out = nnx.Linear(width, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(self.body(x))


STAGES = {'block_00': 'body', 'head': 'out'}


def made(**changed):
    given = {'stages': STAGES, 'example': jnp.zeros((1, 4)), **changed}
    return from_nnx(Pair(8, nnx.Rngs(0)), given.pop('stages'), **given)


@pytest.mark.parametrize(
    'changed, message',
    [
        ({'stages': ['body', 'out']}, 'stages is .*expected a dict'),
        ({'stages': {}}, 'stages is .*expected a dict'),
        ({'stages': {'block/00': 'body', 'head': 'out'}}, "a stage is called 'block/00'"),
        ({'stages': {'': 'body', 'head': 'out'}}, "a stage is called ''"),
        ({'stages': {3: 'body', 'head': 'out'}}, 'a stage is called 3'),
        ({'stages': {'block_00': None, 'head': 'out'}}, "stage 'block_00' is None; expected"),
        ({'stages': {'block_00': 3, 'head': 'out'}}, "stage 'block_00' is 3; expected"),
        ({'stages': {'block_00': [], 'head': 'out'}}, r"stage 'block_00' is \[\]; expected"),
        ({'example': [1, 2]}, 'example is .*expected one batch'),
        ({'example': None}, 'example is .*expected one batch'),
        ({'example': jnp.zeros(())}, 'example is .*expected one batch'),
        ({'rebuild': 3}, 'rebuild is 3; expected lambda'),
        ({'roles': {'norm': '('}}, "pattern of role 'norm'"),
        ({'roles': {'norm': 3}}, "pattern of role 'norm'"),
        ({'class_names': ('a', 'b', 'c')}, 'last stage has 2 outputs'),
        ({'class_names': 'ab'}, 'last stage has 2 outputs'),
    ],
)
def test_mistakes_in_one_line(changed, message):
    with pytest.raises(UserError, match=message):
        made(**changed)


def test_linen_modules_are_checked_alike():
    class Two(nn.Module):
        def setup(self):
            self.body, self.top = nn.Dense(4), nn.Dense(2)

        def __call__(self, x):
            return self.top(self.body(x))

    x = jnp.zeros((1, 3))
    variables = Two().init(jax.random.key(0), x)
    for stages, options, message in (
        ({'block_00': ['body'], 'head': 'top'}, {'example': x}, "'block_00' is .*path of a module"),
        (['body'], {'example': x}, 'from_linen: stages is'),
        ({'block_00': 'body', 'head': 'top'}, {'example': 3}, 'from_linen: example is 3'),
        (
            {'block_00': 'body', 'head': 'top'},
            {'example': x, 'class_names': ('a',)},
            'from_linen: class_names',
        ),
    ):
        with pytest.raises(UserError, match=message):
            from_linen(Two(), variables, stages, **options)


@pytest.fixture
def pair(monkeypatch):
    """A registered model whose `rebuild` and preprocessing are wrong."""
    monkeypatch.setitem(PARTS, 'model', dict(parts('model')))

    def build(how):
        def function():
            return made(**how)

        register('model', 'pair_of_layers')(function)

    return build


def test_other_weights_are_of_the_same_sizes(pair):
    pair({'rebuild': lambda rngs: Pair(16, rngs)})
    load_pretrained('pair_of_layers')
    with pytest.raises(UserError, match=r'rebuild makes another model: params/block_00/bias is'):
        load_pretrained('random:pair_of_layers')


def test_preprocessing_is_of_a_known_kind(pair):
    pair({'preprocessing': 'x'})
    with pytest.raises(UserError, match="preprocessing='x' of a built model"):
        load_pretrained('pair_of_layers')
