"""The shapes that annotations say are those of the arrays: of layers, losses and the step."""

import contextlib
import functools
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Mapping

import jax
import numpy as np
import pytest

from ftjax.models.layers.attention import attend
from ftjax.models.registry import build
from ftjax.models.stages import TRAIN
from ftjax.tasks import task_of

jaxtyping = pytest.importorskip('jaxtyping')
NAMES = {**vars(jaxtyping), 'Array': jax.Array}

TINY = {'depth': 1, 'width': 16, 'heads': 2, 'num_classes': 3}
IMAGES = TINY | {'image_size': (16, 24), 'patch_size': 8}
TEXTS = TINY | {'vocab_size': 30, 'mlp_dim': 24, 'max_positions': 12}
NETWORKS = {
    'vit': IMAGES | {'drop_path': 0.1},
    'siglip_vision': IMAGES,
    'resnet_gn_cifar': {'depth': 8, 'width': 8, 'image_size': 8, 'num_classes': 3},
    'resnet_bn_cifar': {'depth': 8, 'width': 4, 'image_size': 8, 'num_classes': 3},
    'convnext': {'depths': (1,), 'widths': (8,), 'image_size': 32, 'num_classes': 3},
    'bert': TEXTS,
    'llama': TEXTS | {'kv_heads': 1},
}
OUTPUTS = {  # of each task: outputs of two examples, and their labels
    'classification': (np.zeros((2, 3), np.float32), np.array([0, 2], np.int32)),
    'regression': (np.zeros((2, 1), np.float32), np.array([0.5, 2], np.float32)),
    'multilabel': (np.zeros((2, 3), np.float32), np.eye(3, dtype=np.float32)[:2]),
    'masked_tokens': (np.zeros((2, 4, 9), np.float32), np.ones((2, 4), np.int32)),
    'embedding': (np.ones((2, 2, 5), np.float32), np.arange(6, dtype=np.int32).reshape(2, 3)),
    'multiple_choice': (np.zeros((2, 3, 1), np.float32), np.array([[0, 3], [2, 3]], np.int32)),
    'text_ranking': (np.zeros((2, 3, 1), np.float32), np.eye(3, dtype=np.float32)[:2]),
    'text_similarity': (np.ones((2, 2, 5), np.float32), np.array([0.5, 1], np.float32)),
    'causal_lm': (np.zeros((2, 4, 3), np.float32), np.ones((2, 4, 2), np.int32)),
    'token_classification': (np.zeros((2, 4, 3), np.float32), np.ones((2, 4), np.int32)),
    'masked_features': (np.zeros((2, 5), np.float32), np.ones((2, 5), np.float32)),
}


def is_shape(hint):
    return isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)


def shapes_of(hint):
    """The shapes that a value of this annotation may have."""
    found = [hint, *typing.get_args(hint)] if typing.get_origin(hint) is not tuple else []
    return [each for each in found if is_shape(each)]


def checked(function, hints):
    """The function, which refuses arrays of other shapes than its annotations say."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run(*given, **named):
        bound = signature.bind(*given, **named).arguments
        with jaxtyping.jaxtyped('context'):
            for name, value in bound.items():
                check(function, name, value, hints.get(name))
            result = function(*given, **named)
            check(function, 'return', result, hints.get('return'))
        run.calls += 1
        return result

    run.calls = 0
    return run


def check(function, name, value, hint):
    shapes = shapes_of(hint)
    for array in value.values() if isinstance(value, Mapping) else [value]:
        assert not shapes or array is None or any(isinstance(array, each) for each in shapes), (
            f'{function.__qualname__}: {name} {array.dtype}{list(array.shape)} is no {hint}'
        )


@contextlib.contextmanager
def all_checked(package, monkeypatch):
    """Functions and methods of a package with shapes in their annotations; all of them check."""
    found = []
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f'{package.__name__}.{info.name}')
        names = {**NAMES, **vars(module)}
        classes = [x for x in vars(module).values() if inspect.isclass(x)]
        for owner in [module, *(x for x in classes if x.__module__ == module.__name__)]:
            for name, function in list(vars(owner).items()):
                if not inspect.isfunction(function) or function.__module__ != module.__name__:
                    continue
                plain = inspect.unwrap(function)
                if 'Float[' not in str(plain.__annotations__):
                    continue
                made = checked(function, typing.get_type_hints(plain, names))
                found.append(made)
                holders = [owner] if owner is not module else list(sys.modules.values())
                for holder in holders:
                    if vars(holder).get(name) is function:
                        monkeypatch.setattr(holder, name, made)
    yield found


def test_shapes_in_the_layers_are_those_of_every_family(monkeypatch):
    import ftjax.models.layers

    with all_checked(ftjax.models.layers, monkeypatch) as found:
        for name, options in NETWORKS.items():
            network = build(name, options)
            variables = jax.eval_shape(network.init, jax.random.key(0), network.example_input(2))

            def run(variables, inputs, network=network):
                rngs = {'dropout': jax.random.key(1)}
                return network.apply(
                    variables, inputs, modes=TRAIN, rngs=rngs, mutable=['batch_stats']
                )[0]

            assert jax.eval_shape(run, variables, network.example_input(2)).shape[0] == 2
    called = {made.__qualname__ for made in found if made.calls}
    assert {'attend', 'SelfAttention.__call__', 'rotate', 'BatchNorm.__call__'} <= called
    assert len(called) > 12


def test_shapes_in_tasks_are_those_of_their_losses(monkeypatch):
    import ftjax.tasks

    with all_checked(ftjax.tasks, monkeypatch) as found:
        for name, (outputs, labels) in OUTPUTS.items():
            kind = task_of(name).labels
            per_place = kind.from_inputs or kind.head == 'tags'
            mask = np.ones(kind.asked(labels).shape if per_place else 2, np.float32)
            batch = {'labels': labels, 'mask': mask, 'index': np.arange(2)}
            assert np.isfinite(task_of(name).validate([(outputs, batch)])['loss'])
            total, weight = task_of(name).loss(outputs, batch)
            assert total.shape == () and weight == mask.sum()
    called = {made.__qualname__ for made in found if made.calls}
    assert {f'{type(task_of(name)).__name__}.losses' for name in OUTPUTS} <= called


def test_an_array_of_another_shape_is_refused():
    hints = typing.get_type_hints(attend, {**NAMES, **attend.__globals__})
    right, wrong = np.zeros((2, 5, 2, 4), np.float32), np.zeros((3, 5, 2, 4), np.float32)
    query, other = (jax.numpy.asarray(x) for x in (right, wrong))
    assert checked(attend, hints)(query, query, query).shape == query.shape
    with pytest.raises(AssertionError, match=r'attend: value float32\[3, 5, 2, 4\] is no'):
        checked(attend, hints)(query, query, other)
