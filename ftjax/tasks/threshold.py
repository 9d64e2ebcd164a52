"""Decision thresholds: from which probability on the second of two classes is answered, or a label.

A threshold is chosen on validation examples after training, is kept with the model, and decides
the answers on every split. Metrics of probabilities (AUROC, log loss) do not depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ftjax.errors import UserError
from ftjax.part_arguments import read_value
from ftjax.printable import printable
from ftjax.ranges import between
from ftjax.registry import parse, register

KEY = 'train.threshold'
Threshold = float | tuple[float, ...]
"""Of two classes one number, of several labels one each."""
_PROBABILITY = between(0, 1)


@register('threshold', 'f1')
def f1(positive: np.ndarray, probabilities: np.ndarray) -> float:
    """Where F1 of the second class is largest; of equals the highest."""
    found, answered, at = _counts(positive, probabilities)
    return float(at[np.argmax(2 * found / (answered + positive.sum()))])


@register(
    'threshold', 'youden', source='10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3'
)
def youden(positive: np.ndarray, probabilities: np.ndarray) -> float:
    """Where sensitivity + specificity is largest; of equals the highest."""
    found, answered, at = _counts(positive, probabilities)
    gain = found / positive.sum() - (answered - found) / (~positive).sum()
    return float(at[np.argmax(gain)])


@register('threshold', 'specificity', ranges={'least': between(0, 1)})
def specificity(positive: np.ndarray, probabilities: np.ndarray, least: float = 0.95) -> float:
    """The lowest that answers the first class for this share of its examples, at least."""
    found, answered, at = _counts(positive, probabilities)
    reached = 1 - (answered - found) / (~positive).sum() >= least - 1e-9  # rounding apart
    if reached.any():
        return float(at[np.flatnonzero(reached)[-1]])
    return float(np.nextafter(at[0], np.inf))


def check_threshold(text: str) -> None:
    """UserError unless a text is empty, a probability, or names a rule."""
    if fixed(text) is None and text:
        parse('threshold', text)


def fixed(text: str) -> float | None:
    """The number, where a text is one.

    >>> fixed('0.3'), fixed('f1')
    (0.3, None)
    """
    if not re.match(r'[-+.\d]', text):
        return None
    return float(read_value(text, 0.5, KEY, _PROBABILITY))


def choose(text: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold that a rule, or a number, gives on validation examples.

    Args:
      text: as `config.train.threshold`.
      labels: (n,) 0 or 1.
      probabilities: (n,) of class 1; it is answered from the threshold on.

    Raises:
      UserError: a rule that needs examples of both classes, and there is one class only.

    >>> labels, sure = np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.2, 0.9])
    >>> (
    ...     choose('f1', labels, sure),
    ...     choose('specificity:1', labels, sure),
    ...     choose('0.4', labels, sure),
    ... )
    (0.2, 0.9, 0.4)
    """
    number = fixed(text)
    if number is not None:
        return number
    positive = np.asarray(labels) == 1
    if positive.all() or not positive.any():
        raise UserError(f'{KEY} {text!r} is chosen on validation examples, which have one class')
    return float(parse('threshold', text)(positive, np.asarray(probabilities, np.float64)))


def choose_each(text: str, labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, ...]:
    """A threshold for each of several labels; 1/2 for one that all examples have, or none has.

    Args:
      text, probabilities: as of `choose`; both arrays (n, labels).
      labels: 0 or 1.

    Raises:
      UserError: a rule that needs examples of both kinds, and no label has them.

    >>> labels, sure = np.array([[0, 1], [1, 1]]), np.array([[0.1, 0.3], [0.2, 0.9]])
    >>> choose_each('f1', labels, sure), choose_each('0.4', labels, sure)
    ((0.2, 0.5), (0.4, 0.4))
    """
    known = [0 < column.mean() < 1 for column in labels.T]
    if not any(known) and fixed(text) is None:
        raise UserError(f'{KEY} {text!r} is chosen on validation examples, which all are alike')
    return tuple(
        choose(text, labels[:, c], probabilities[:, c])
        if known[c] or fixed(text) is not None
        else 0.5
        for c in range(labels.shape[1])
    )


def told_threshold(threshold: float | Sequence[float], names: Sequence[str]) -> str:
    """From which probabilities labels are answered, in words.

    >>> told_threshold([0.25, 0.5], ['sea', 'sky'])
    'answered from a probability of: sea 0.25, sky 0.5'
    """
    each = [threshold] * len(names) if isinstance(threshold, float) else threshold
    shown = [f'{printable(name)} {at:.4g}' for name, at in zip(names, each, strict=False)]
    more = f' and {len(shown) - 8} more' if len(shown) > 8 else ''
    return f'answered from a probability of: {", ".join(shown[:8])}{more}'


def _counts(
    positive: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positives found, examples answered, threshold) at each distinct probability, falling."""
    order = np.argsort(-probabilities, kind='stable')
    sorted_probabilities = probabilities[order]
    last = np.flatnonzero(np.diff(sorted_probabilities, append=-np.inf))
    return np.cumsum(positive[order])[last], last + 1.0, sorted_probabilities[last]
