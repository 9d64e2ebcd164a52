"""Regularisers: penalties on the distance from the pretrained weights.

A regulariser with the option `acts='penalty'` is a function (weights, start, head,
**parameters) -> scalar to add to the loss; with `acts='weights'` it is a function (weights,
start, key, head, **parameters) -> the weights that the step's forward pass uses. `weights`
and `start` are flat dicts over the trainable leaves, now and as they were loaded; `head` the
set of leaves that have no pretrained value. With the option `importance` a penalty takes one more
flat dict after `head`: the diagonal of the Fisher information on the tasks of `train.previous`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.freezing.registry import strategy
from ftjax.ranges import at_least, between


@strategy(
    'l2_sp',
    'regulariser',
    alpha=0.1,
    beta=0.01,
    source='Li, Grandvalet and Davoine 2018, arXiv:1802.01483',
    options={'acts': 'penalty'},
    ranges={'alpha': at_least(0), 'beta': at_least(0)},
)
def l2_sp(weights, start, head, alpha: float, beta: float):
    """Adds alpha/2 of the squared distance to the starting weights, beta/2 of the head's norm.

    >>> ones = {'a': jnp.ones(2)}
    >>> float(l2_sp(ones, ones, frozenset(), 0.1, 0.01))
    0.0
    """
    total = jnp.zeros(())
    for path, leaf in weights.items():
        if path in head:
            total += beta / 2 * jnp.sum(jnp.square(leaf))
        else:
            total += alpha / 2 * jnp.sum(jnp.square(leaf - start[path]))
    return total


@strategy(
    'ewc',
    'regulariser',
    strength=100.0,
    examples=128,
    source='Kirkpatrick et al. 2017, arXiv:1612.00796',
    options={'acts': 'penalty', 'importance': True, 'least_ndim': 0},
    ranges={'strength': at_least(0), 'examples': at_least(1)},
)
def ewc(weights, start, head, importance, strength: float, examples: int):
    """Adds strength/2 of the squared distance to the start, each weight times its importance.

    Importance is the diagonal of the Fisher information: the mean squared gradient of the loss of
    single training examples, `examples` of each task in `train.previous`, summed over tasks. A
    leaf that no previous task had, a new head say, is free.

    >>> w, w0, fisher = {'a': jnp.ones(2)}, {'a': jnp.zeros(2)}, {'a': jnp.array([3.0, 0.0])}
    >>> float(ewc(w, w0, frozenset(), fisher, 10.0, 128))
    15.0
    """
    del examples
    total = jnp.zeros(())
    for path in sorted(set(weights) & set(importance) - head):
        moved = jnp.square(weights[path] - start[path])
        total += strength / 2 * jnp.sum(importance[path] * moved)
    return total


@strategy(
    'mixout',
    'regulariser',
    p=0.7,
    source='Lee, Cho and Kang 2020, arXiv:1909.11299',
    options={'acts': 'weights', 'least_ndim': 2},
    ranges={'p': between(0, 1)},
)
def mixout(weights, start, key, head, p: float):
    """Each step, entries of the matrices go back to their pretrained values with chance p.

    The expectation is kept: ((1 - M) w0 + M w - p w0) / (1 - p), M 1 with chance 1 - p; p = 1
    gives w0. Vectors and a new head are left as they are.
    """
    if not 0 <= p <= 1:
        raise UserError(f'mixout: p is {p:g}; expected 0 to 1')
    mixed = dict(weights)
    for number, path in enumerate(sorted(weights)):
        if path in head or weights[path].ndim < 2 or p == 0:
            continue
        if p == 1:
            mixed[path] = start[path]
            continue
        keep = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - p, weights[path].shape)
        chosen = jnp.where(keep, weights[path], start[path])
        mixed[path] = (chosen - p * start[path]) / (1 - p)
    return mixed
