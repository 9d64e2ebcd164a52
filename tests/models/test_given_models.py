"""What `from_nnx` and `from_linen` are given wrongly is said in one line, before anything runs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from ftjax.errors import UserError
from ftjax.models import from_linen, from_nnx
from ftjax.models.built.network import new_head_leaves
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


def test_a_function_may_return_the_same_each_time(monkeypatch):
    monkeypatch.setitem(PARTS, 'model', dict(parts('model')))
    built, x = made(), jnp.ones((1, 4))
    wanted = built.network.apply(built.variables, x)
    register('model', 'kept_pair')(lambda width=8: built)
    for options in ({}, {}, {'width': 9}):
        found = load_pretrained('kept_pair', options=options)
        assert (found.network.apply(found.variables, x) == wanted).all()


def test_preprocessing_is_of_a_known_kind(pair):
    pair({'preprocessing': 'x'})
    with pytest.raises(UserError, match="preprocessing='x' of a built model"):
        load_pretrained('pair_of_layers')


class Normed(nnx.Module):
    def __init__(self, rngs):
        self.body = nnx.Linear(4, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.out = nnx.Linear(6, 2, rngs=rngs)


NORMED = {'block_00': ['body', 'norm'], 'head': 'out'}


@pytest.mark.parametrize(
    'stages, message',
    [
        (
            {**NORMED, 'block_00': lambda m, x: m.norm(m.body(x)).reshape(8, 6)},
            "'block_00' is for one number of examples alone: .*9 examples.*-1",
        ),
        (
            {**NORMED, 'block_00': lambda m, x: m.norm(m.body(x))[:8]},
            r"'block_00' is for one number .*shape \(8, 6\) for 9 examples",
        ),
        (
            {**NORMED, 'block_00': lambda m, x: m.norm(m.body(x), use_running_average=False)},
            "'block_00' does not run in evaluation.*ask for batch statistics there",
        ),
    ],
)
def test_stages_are_tried_in_evaluation_and_with_another_number_of_examples(stages, message):
    with pytest.raises(UserError, match=message):
        from_nnx(Normed(nnx.Rngs(0)), stages, example=jnp.zeros((8, 4)))


def test_a_head_that_fixes_the_number_of_classes_is_not_made_anew():
    fixed = {**NORMED, 'head': lambda m, x: m.out(x).reshape(-1, 2)}
    built = from_nnx(Normed(nnx.Rngs(0)), fixed, example=jnp.zeros((8, 4)))
    assert built.network.apply(built.variables, jnp.zeros((3, 4))).shape == (3, 2)
    with pytest.raises(UserError, match=r'no new head can be made, because .*fixes their number'):
        new_head_leaves(built.network.clone(num_classes=5))
    plain = from_nnx(Normed(nnx.Rngs(0)), NORMED, example=jnp.zeros((8, 4)))
    assert new_head_leaves(plain.network.clone(num_classes=5)) == ('kernel', 'bias')


def test_linen_stages_are_tried_alike():
    class Net(nn.Module):
        def setup(self):
            self.body, self.norm, self.out = nn.Dense(6), nn.BatchNorm(), nn.Dense(2)

        def __call__(self, x, train=False):
            return self.out(self.norm(self.body(x), use_running_average=not train))

    x, net = jnp.zeros((8, 4)), Net()
    variables = net.init(jax.random.key(0), x)

    def wrapped(block):
        return from_linen(net, variables, {'block_00': block, 'head': 'out'}, example=x)

    follows = wrapped(
        lambda m, x, mode: m.norm(m.body(x), use_running_average=not mode.batch_stats)
    )
    assert follows.network.num_classes == 2
    with pytest.raises(
        UserError, match=r"'block_00' does not run in evaluation.*must follow the mode"
    ):
        wrapped(lambda m, x: m.norm(m.body(x), use_running_average=False))
    with pytest.raises(UserError, match="'block_00' is for one number of examples alone"):
        wrapped(lambda m, x: m.norm(m.body(x), use_running_average=True).reshape(8, 6))
