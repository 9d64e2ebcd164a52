"""The schedules there are: the learning rate over time, as a share of its peak, on the host.

A schedule is a function (settings, done, step, total, **arguments) -> share of the peak rate.
`settings` is `config.schedule`; `done` runs from 0 to 1 after the warm-up; `step` counts from 0.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ftjax.ranges import above, between
from ftjax.registry import register

if TYPE_CHECKING:
    from ftjax.optim.schedule import ScheduleSettings


@dataclasses.dataclass(frozen=True)
class ScheduleKind:
    """The `details` of a schedule."""

    warms_up: bool = True
    """Whether it begins after the warm-up; without, at the first step."""


@register('schedule', 'cosine', source='Loshchilov & Hutter 2017, arXiv:1608.03983')
def cosine(settings: ScheduleSettings, done: float, step: int, total: int) -> float:
    """Half a cosine down to `end`."""
    del step, total
    return settings.end + (1 - settings.end) * (1 + math.cos(math.pi * done)) / 2


@register('schedule', 'linear')
def linear(settings: ScheduleSettings, done: float, step: int, total: int) -> float:
    """A straight line down to `end`."""
    del step, total
    return 1 - (1 - settings.end) * done


@register('schedule', 'polynomial', ranges={'power': above(0)})
def polynomial(
    settings: ScheduleSettings, done: float, step: int, total: int, power: float = 2.0
) -> float:
    """A power of what is left, down to `end`."""
    del step, total
    return settings.end + (1 - settings.end) * (1 - min(done, 1.0)) ** power


@register('schedule', 'inverse_sqrt', source='Vaswani et al. 2017, arXiv:1706.03762, section 5.3')
def inverse_sqrt(settings: ScheduleSettings, done: float, step: int, total: int) -> float:
    """One over the root of the steps, counted in lengths of the warm-up."""
    del done
    return min(1.0, math.sqrt(max(settings.warmup * total, 1.0) / (step + 1)))


@register(
    'schedule',
    'range_test',
    ranges={'start': between(0, 1, ends='none')},
    details=ScheduleKind(warms_up=False),
)
def range_test(
    settings: ScheduleSettings, done: float, step: int, total: int, start: float = 1e-5
) -> float:
    """From `start` up to the peak, by one factor a step, no warm-up: to look for a rate."""
    del settings, done
    return start ** (1 - step / max(total - 1, 1))


@register('schedule', 'constant')
def constant(settings: ScheduleSettings, done: float, step: int, total: int) -> float:
    """The peak to the end."""
    del settings, done, step, total
    return 1.0


@register('schedule', 'piecewise')
def piecewise(settings: ScheduleSettings, done: float, step: int, total: int) -> float:
    """Multiplied by `factor` at each of `boundaries`."""
    del done
    return settings.factor ** sum(step >= b * total for b in settings.boundaries)
