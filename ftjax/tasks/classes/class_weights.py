"""Class weights: how much a training example of each class counts in the loss.

The loss of a batch is the sum of weight times loss over the sum of weights, over the whole batch
however it is accumulated and shared out; so only the ratios of weights matter. Validation and
test losses are not weighted.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

import numpy as np

from ftjax.errors import UserError, check_name, shown
from ftjax.field_types import fits
from ftjax.ranges import above, between
from ftjax.registry import parse, register

KEY = 'train.class_weights'
_EACH = above(0)


@register('class_weights', 'balanced', source='10.1093/oxfordjournals.pan.a004868')
def balanced(counts: np.ndarray) -> np.ndarray:
    """Inverse frequencies, n / (classes x count): every class counts as much as another."""
    return counts.sum() / (len(counts) * counts)


@register(
    'class_weights',
    'effective',
    source='arXiv:1901.05555',
    ranges={'beta': between(0, 1, ends='low')},
)
def effective(counts: np.ndarray, beta: float = 0.999) -> np.ndarray:
    """Inverse effective numbers of examples, (1 - beta) / (1 - beta^count), of mean 1."""
    weights = (1 - beta) / -np.expm1(counts * np.log(beta)) if beta else np.ones(len(counts))
    return weights / weights.mean()


def read(given: object) -> str | dict[str, float]:
    """What a config says: the name of a weighting, or weights by class; checked as far as can be.

    A text that begins with a brace is read as a mapping in Python's words, for command lines.

    >>> read('effective:0.99'), read("{'bee': 10}")
    ('effective:0.99', {'bee': 10.0})
    """
    if isinstance(given, str) and given.lstrip().startswith('{'):
        try:
            given = ast.literal_eval(given.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise UserError(f'{KEY} is {shown(given)}; {_EXPECTED}') from None
    if isinstance(given, str):
        if given:
            parse('class_weights', given)
        return given
    if not isinstance(given, Mapping):
        raise UserError(f'{KEY} is {shown(given)}; {_EXPECTED}')
    for name, weight in given.items():
        if not fits(weight, float) or not _EACH.holds(weight):
            raise UserError(
                f'{KEY} of class {name!r} is {shown(weight)}; expected a number, {_EACH}'
            )
    return {str(name): float(weight) for name, weight in given.items()}


_EXPECTED = "expected 'balanced', 'effective:0.999' or a mapping such as {'bee': 10.0}"


def class_weights(
    given: str | Mapping[str, float], counts: Sequence[int], class_names: Sequence[str]
) -> tuple[float, ...]:
    """The weight of each class; () where nothing is given.

    Args:
      given: as `read` gives it. Classes that a mapping does not name weigh 1.
      counts: training examples of each class, at least one.
      class_names: in the same order.

    Raises:
      UserError: a class that there is not, or weights of one's own that are no numbers above 0.

    >>> class_weights('balanced', [30, 10], ['ant', 'bee'])
    (0.6666666666666666, 2.0)
    >>> class_weights({'bee': 10.0}, [30, 10], ['ant', 'bee'])
    (1.0, 10.0)
    """
    if not given:
        return ()
    if isinstance(given, str):
        found: object = parse('class_weights', given)(np.asarray(counts, np.float64))
        weights = np.asarray(found, np.float64)
        if weights.shape != (len(counts),) or not all(map(_EACH.holds, weights.tolist())):
            raise UserError(
                f'{KEY} {given!r} gives {shown(weights.tolist())}; expected {len(counts)} numbers, '
                f'each {_EACH}'
            )
        return tuple(weights.tolist())
    for name in given:
        check_name(name, class_names, f'class in {KEY}:')
    return tuple(float(given.get(name, 1.0)) for name in class_names)
