"""What a gate claims: rules over arms, each as sums of means that must be above 0."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

from ftjax.errors import UserError

Weights = dict[str, float]
"""Arm to its weight in a sum of means; weights add up to 0."""
LESS = ' less the step '
Means = Mapping[str, float]
"""Arm to its mean, less that of one of the arms; higher is better."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a rule says of some arms.

    Attributes:
      gate: a sentence with the arms' names.
      value: what is shown; the claim holds if it is better than 0.
      better: what must be better than 0 besides, by its name.
      not_worse: what must not be worse than 0, by its name.
    """

    gate: str
    value: Weights
    better: Mapping[str, Weights] = dataclasses.field(default_factory=dict)
    not_worse: Mapping[str, Weights] = dataclasses.field(default_factory=dict)


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
    *earlier, (name, last) = steps(arms).items()
    words = f'the step {arms[-2]} to {arms[-1]} rises and is the largest'
    gaps = _gaps(name, last, earlier)
    nearest = min(gaps, key=lambda gap: value_of(gaps[gap], means))
    if value_of(last, means) <= 0:
        return Claim(f'{words}: the step', last, better=gaps)
    rival = nearest.split(LESS)[1]
    words = f'{words}: minus the next largest, {rival}'
    return Claim(words, gaps[nearest], better={name: last, **gaps})


def first_step_largest(means: Means, *arms: str) -> Claim:
    """The step from the first arm to the second is larger than any later one."""
    (name, first), *later = steps(arms).items()
    gaps = _gaps(name, first, later)
    nearest = min(gaps, key=lambda gap: value_of(gaps[gap], means))
    rival = nearest.split(LESS)[1]
    words = f'largest step is {arms[0]} to {arms[1]}: minus the next largest, {rival}'
    return Claim(words, gaps[nearest], better=gaps)


def worst(means: Means, arm: str) -> Claim:
    """Every other arm is above this one."""
    others = [name for name in means if name != arm]
    if not others:
        raise UserError(f'gate worst: {arm!r} is the only arm')
    nearest = min(others, key=lambda name: means[name])
    words = f'{arm} is the worst arm: {nearest} minus {arm}'
    better = {f'{other} minus {arm}': minus(other, arm) for other in others}
    return Claim(words, minus(nearest, arm), better=better)


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


def steps(arms: Sequence[str]) -> dict[str, Weights]:
    """Each arm less the one before it, by name.

    >>> steps(['head', 'last:1', 'full'])['last:1 to full']
    {'full': 1.0, 'last:1': -1.0}
    """
    return {f'{one} to {other}': minus(other, one) for one, other in itertools.pairwise(arms)}


def value_of(weights: Weights, means: Means) -> float:
    """The sum that weights make of means."""
    return sum(weight * means[arm] for arm, weight in weights.items())


def _gaps(name: str, step: Weights, others: Sequence[tuple[str, Weights]]) -> dict[str, Weights]:
    """How much larger a step is than each of some others."""
    return {
        f'{name}{LESS}{other}': combined(step, {arm: -weight for arm, weight in weights.items()})
        for other, weights in others
    }
