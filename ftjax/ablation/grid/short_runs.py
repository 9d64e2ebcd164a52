"""Runs of a share of the full length: arms of their own, whose rows tell which rates are worth it.

A schedule of the rate is relative to the length, so a short run is warmed up and decayed too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping

from ftjax.ablation.settings import AblationSettings
from ftjax.config import merged, read_config


def short(arm: str, share: float) -> str:
    """What rows call the short runs of an arm.

    >>> short('head', 0.25), short('head', 1.0)
    ('head (25 % of its steps)', 'head')
    """
    return arm if share == 1.0 else f'{arm} ({100 * share:g} % of its steps)'


def arm_and_share(name: str) -> tuple[str, float]:
    """The arm, and the share of its full length, that rows of that name have.

    >>> arm_and_share('head (25 % of its steps)'), arm_and_share('head')
    (('head', 0.25), ('head', 1.0))
    """
    found = re.fullmatch(r'(.*) \(([\d.]+) % of its steps\)', name, re.DOTALL)
    return (found.group(1), float(found.group(2)) / 100) if found else (name, 1.0)


def with_short_runs(
    settings: AblationSettings, values: Mapping[str, object], shares: Collection[float]
) -> AblationSettings:
    """The settings with an arm more for each arm that is tuned and each share below 1.

    Args:
      settings: of a grid.
      values: the config that arms change.
      shares: of the length of a full run; validations are as many.
    """
    arms = dict(settings.arms)
    for arm in settings.tuned:
        given = settings.arms[arm]
        plain = {'freeze': given} if isinstance(given, str) else dict(given)
        train = read_config(merged(values, settings.changes(arm))).train
        for share in shares:
            length = (
                {'train.epochs': train.epochs * share}
                if train.steps is None
                else {'train.steps': max(1, round(train.steps * share))}
            )
            fewer = {**length, 'train.eval_every': train.eval_every * share}
            if share != 1.0:
                arms[short(arm, share)] = {**plain, **fewer}
    return dataclasses.replace(settings, arms=arms)
