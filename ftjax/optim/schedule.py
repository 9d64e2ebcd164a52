"""The learning rate over time, computed on the host so that no program depends on it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Annotated

import numpy as np

from ftjax.errors import UserError
from ftjax.field_types import check_fields
from ftjax.freezing.plan.plan import Plan
from ftjax.ranges import between
from ftjax.registry import parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """What a config says about the rate over time: `config.schedule`."""

    name: str = 'cosine'
    """After the warm-up: `cosine` or `linear` down to `end`, `constant`, or `piecewise`; more by
    `scripts/plan.py --list schedule`, with arguments: 'polynomial:2'."""
    warmup: Annotated[float, between(0, 1, ends='low')] = 0.1
    """Share of the steps over which the rate rises from 0, linearly."""
    end: Annotated[float, between(0, 1)] = 0.0
    """Last rate, as a share of the peak."""
    boundaries: Annotated[tuple[float, ...], between(0, 1, ends='none')] = (0.5, 0.75)
    """Of `piecewise`, rising: shares of the steps at which the rate is multiplied by `factor`."""
    factor: Annotated[float, between(0, 1, ends='high')] = 0.1

    def __post_init__(self):
        check_fields(ScheduleSettings, vars(self), 'schedule')
        parse('schedule', self.name)
        object.__setattr__(self, 'boundaries', tuple(self.boundaries))
        if any(high <= low for low, high in itertools.pairwise(self.boundaries)):
            raise UserError(f'schedule.boundaries are {self.boundaries}; expected them to rise')


def rate_factor(settings: ScheduleSettings, step: int, total: int) -> float:
    """The share of the peak rate at a step, counted from 0, of `total` steps.

    >>> [round(rate_factor(ScheduleSettings(warmup=0.5), s, 4), 3) for s in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    shape = parse('schedule', settings.name)
    warms_up = shape.details is None or shape.details.warms_up
    warmup = round(settings.warmup * total) if warms_up else 0
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(total - warmup, 1)
    return float(shape(settings, done, step, total))


def plan_factor(plan: Plan, settings: ScheduleSettings, step: int, total: int) -> float:
    """The share of the peak rate at a step under a plan: its phases may restart the schedule.

    A shape of the plan's own (stlr) stands in for the settings' schedule.
    """
    first, end = plan.season(step, total)
    shape = plan.term('shape')
    if shape is not None:
        factor = shape(step - first, end - first)
    else:
        factor = rate_factor(settings, step - first, end - first)
    opened = plan.at(step).start
    if plan.rewarm and opened:
        factor *= min(1.0, (step - opened + 1) / plan.rewarm)
    return factor


def leaf_rates(
    plan: Plan, settings: ScheduleSettings, learning_rate: float, step: int, total: int
) -> np.ndarray:
    """Learning rates of the trainable leaves at a step, (leaves,) float32, in their order.

    The peak rate times the schedule times each leaf's multiplier; a leaf that anneals follows
    a cosine of its own from the run's first step instead of the schedule.
    """
    phase = plan.at(step)
    common = plan_factor(plan, settings, step, total)
    rates = np.asarray(phase.multipliers, np.float64) * learning_rate
    for index, path in enumerate(phase.trainable):
        end = phase.leaves[path].anneal
        own = None if end is None else (1 + math.cos(math.pi * min(step / end, 1.0))) / 2
        rates[index] *= common if own is None else own
    return rates.astype(np.float32)
