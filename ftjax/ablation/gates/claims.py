"""What a gate claims: rules over arms, each as sums of means that must be above 0."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

from ftjax.errors import UserError

Weights = dict[str, float]
"""Arm to its weight in a sum of means; weights add up to 0."""
Means = Mapping[str, float]
"""Arm to its mean, less that of one of the arms; higher is better."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a rule says of some arms.

    Attributes:
      gate: a sentence with the arms' names.
      value: what is shown; the claim holds if it is better than 0.
      better: what must be better than 0 besides.
      not_worse: what must not be worse than 0.
    """

    gate: str
    value: Weights
    better: Sequence[Weights] = ()
    not_worse: Sequence[Weights] = ()


def rises(means: Means, *arms: str) -> Claim:
    """The last arm is above the first, and no arm is significantly below the one before it."""
    words = f'rises over {", ".join(arms)}: {arms[-1]} minus {arms[0]}, and no step falls'
    return Claim(words, minus(arms[-1], arms[0]), not_worse=steps(arms))


def saturates(means: Means, *arms: str) -> Claim:
    """The first half of the arms' steps gains more than the second half."""
    first, middle, last = arms[0], arms[len(arms) // 2], arms[-1]
    words = f'saturates: gain {first} to {middle} minus gain {middle} to {last}'
    return Claim(words, combined(minus(middle, first), minus(middle, last)))


def last_step_largest(means: Means, *arms: str) -> Claim:
    """The last arm is above the one before it, by more than any earlier step."""
    *earlier, last = steps(arms)
    gaps = [combined(last, {arm: -weight for arm, weight in step.items()}) for step in earlier]
    words = f'the step {arms[-2]} to {arms[-1]} rises and is the largest'
    nearest = min(range(len(gaps)), key=lambda n: value_of(gaps[n], means))
    if value_of(last, means) <= 0:
        return Claim(f'{words}: the step', last, better=gaps)
    rival = f'{arms[nearest]} to {arms[nearest + 1]}'
    words = f'{words}: minus the next largest, {rival}'
    return Claim(words, gaps[nearest], better=[last, *gaps])


def first_step_largest(means: Means, *arms: str) -> Claim:
    """The step from the first arm to the second is larger than any later one."""
    first, *later = steps(arms)
    gaps = [combined(first, {arm: -weight for arm, weight in step.items()}) for step in later]
    nearest = min(range(len(gaps)), key=lambda n: value_of(gaps[n], means))
    rival = f'{arms[nearest + 1]} to {arms[nearest + 2]}'
    words = f'largest step is {arms[0]} to {arms[1]}: minus the next largest, {rival}'
    return Claim(words, gaps[nearest], better=gaps)


def worst(means: Means, arm: str) -> Claim:
    """Every other arm is above this one."""
    others = [name for name in means if name != arm]
    if not others:
        raise UserError(f'gate worst: {arm!r} is the only arm')
    nearest = min(others, key=lambda name: means[name])
    words = f'{arm} is the worst arm: {nearest} minus {arm}'
    return Claim(words, minus(nearest, arm), better=[minus(other, arm) for other in others])


def above(means: Means, better: str, other: str) -> Claim:
    """The first arm is above the second."""
    return Claim(f'{better} above {other}', minus(better, other))


def difference(means: Means, arm: str, other: str) -> Claim:
    """The first arm minus the second, reported whichever way it falls."""
    return Claim(f'{arm} minus {other}', minus(arm, other))


RULES: dict[str, tuple[Callable[..., Claim], str, int]] = {
    'rises': (rises, 'gate', 3),
    'saturates': (saturates, 'gate', 3),
    'first_step_largest': (first_step_largest, 'gate', 3),
    'last_step_largest': (last_step_largest, 'gate', 3),
    'worst': (worst, 'gate', 1),
    'above': (above, 'gate', 2),
    'difference': (difference, 'report', 2),
}
"""Rule to its function, its kind, and the fewest arms it needs (`worst`: the one)."""


def minus(arm: str, other: str) -> Weights:
    """The mean of one arm less that of another."""
    return {arm: 1.0, other: -1.0}


def combined(*parts: Weights) -> Weights:
    """The sum of some sums."""
    arms = dict.fromkeys(arm for part in parts for arm in part)
    return {arm: sum(part.get(arm, 0.0) for part in parts) for arm in arms}


def steps(arms: Sequence[str]) -> list[Weights]:
    """Each arm less the one before it."""
    return [minus(after, before) for before, after in itertools.pairwise(arms)]


def value_of(weights: Weights, means: Means) -> float:
    """The sum that weights make of means."""
    return sum(weight * means[arm] for arm, weight in weights.items())


def told(weights: Weights) -> str:
    """A sum of means in words.

    >>> told({'full': 1.0, 'head': -1.0}), told({'a': 1.0, 'b': -2.0, 'c': 1.0, 'd': 0.0})
    ('full minus head', 'a plus c minus 2 x b')
    """
    signed = sorted(((weight < 0, arm, abs(weight)) for arm, weight in weights.items() if weight))
    words = ''
    for negative, arm, size in signed:
        joint = ' minus ' if negative else ' plus ' if words else ''
        words += joint + (arm if size == 1 else f'{size:g} x {arm}')
    return words.strip()
