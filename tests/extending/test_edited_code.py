"""What was edited in another cell of a notebook is what runs next."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from ftjax import registry
from ftjax.io.identity.source_code import code_identity
from ftjax.models.built.network import open_built
from ftjax.xla import program_cache
from ftjax.xla.program_cache import forget_other_code, program

FACTOR = 1.0


def scaled(x):
    return x * FACTOR


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A program whose key is the function that was registered."""

    function: object = scaled

    def __call__(self, x):
        return self.function(x)


def test_a_program_of_other_code_is_not_taken(monkeypatch):
    monkeypatch.setattr(program_cache, '_CODE', {})
    one = jnp.ones(())

    def run():
        forget_other_code(code_identity({'loss scaled': scaled})['parts'])
        return float(program(Scaled(), one).call(one)), program(Scaled(), one)

    (first, known), (again, same) = run(), run()
    assert first == again == 1.0 and known is same
    monkeypatch.setitem(globals(), 'FACTOR', 10.0)
    assert run()[0] == 10.0


NNX = """
import jax.numpy as jnp
from flax import nnx
from ftjax.models import from_nnx


def turned(x):
    return {sign}x


class Tiny(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Linear(4, 4, rngs=rngs)
        self.out = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(turned(self.stem(x)))


def tiny():
    model = Tiny(nnx.Rngs(0))
    stages = {{'stem': lambda model, x: turned(model.stem(x)), 'head': 'out'}}
    return from_nnx(model, stages, example=jnp.zeros((1, 4)))
"""


def test_a_class_of_nnx_that_changed_is_the_one_that_runs(monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'model', dict(registry.parts('model')))
    cell, found = {'__name__': '__main__'}, []
    exec(compile(NNX.format(sign=''), '<cell 1>', 'exec'), cell)
    function = cell['tiny']
    registry.register('model', 'tiny_of_cells')(function)
    for sign in ('', '-'):
        exec(compile(NNX.format(sign=sign), '<cell 2>', 'exec'), cell)
        built = open_built('tiny_of_cells', {})
        out = built.network.apply(built.variables, jnp.ones((1, 4)))
        found.append(np.asarray(out))
    assert registry.find('model', 'tiny_of_cells').function is function
    bias = found[0] + found[1]  # the head's bias is 0: outputs of other sign
    assert bias == pytest.approx(0, abs=1e-6) and np.abs(found[0]).max() > 1e-3
