"""What a config may say of `ablation.retention`: where it is judged what a network keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ftjax.ablation.statistics.margin import default_margin
from ftjax.errors import UserError, check_name
from ftjax.evaluation.metric import Metric
from ftjax.tasks.metrics import metric_of

WHERE = 'config.ablation.retention'
BEFORE = 'pretrained'
"""The baseline that is the network before anything was added to it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retention:
    """A further test set on which every arm is compared with the network before training.

    Attributes:
      of: its name.
      metric: what is measured there.
      margin: changes up to this one, in the metric's unit, do not matter.
      before: the arm that is the network before anything was added.
    """

    of: str
    metric: Metric
    margin: float
    before: str

    @property
    def told(self) -> dict[str, object]:
        """As summary.json holds it."""
        return {
            'of': self.of,
            'metric': self.metric.name,
            'higher_is_better': self.metric.higher_is_better,
            'margin': self.margin,
            'before': self.before,
        }


def retention_of(
    fields: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]
) -> Retention | None:
    """The retention that is asked for; None where none is.

    Args:
      fields: of config.ablation.
      changes: arm to what it changes in the config.

    Raises:
      UserError: a test set that is not named, no arm to compare with, or an unknown metric.
    """
    name, given = fields['retention'], fields['retention_metric']
    if not name:
        for key in ('metric', 'margin', 'gates'):
            if fields[f'retention_{key}'] not in ('', None, ()):
                raise UserError(f'{WHERE}_{key} says nothing without a test set in {WHERE}')
        return None
    if not fields['also_evaluate']:
        raise UserError(
            f'{WHERE} is {name!r}, and config.ablation.also_evaluate names no further test set'
        )
    check_name(name, fields['also_evaluate'], f'{WHERE}: test set of config.ablation.also_evaluate')
    metric = metric_of(given or fields['metric'], f'{WHERE}_metric:')
    margin = fields['retention_margin']
    if margin is None:
        same = metric == metric_of(fields['metric'])
        margin = fields['margin'] if same else None
    return Retention(
        of=name,
        metric=metric,
        margin=default_margin(metric) if margin is None else margin,
        before=_before(changes),
    )


def _before(changes: Mapping[str, Mapping[str, Any]]) -> str:
    """The arm that is the network before anything was added; UserError unless there is one."""
    found = [arm for arm, given in changes.items() if _baseline(given) == BEFORE]
    if not found:
        raise UserError(
            f'{WHERE} compares with the network before anything was added, and no arm is that: '
            f"add one to config.ablation.arms, '{BEFORE}': {{'baseline': '{BEFORE}'}}"
        )
    if len(found) > 1:
        raise UserError(
            f'{WHERE} compares with the network before anything was added, and '
            f'{" and ".join(map(repr, found))} are baselines {BEFORE!r}; expected one'
        )
    (arm,) = found
    others = [key for key in changes[arm] if key != 'baseline']
    if others:
        raise UserError(
            f'{WHERE}: the arm {arm!r} changes {", ".join(others)}; the network that the others '
            f"began with is expected, {{'baseline': '{BEFORE}'}} alone"
        )
    return arm


def _baseline(given: Mapping[str, Any]) -> object:
    found = given.get('baseline')
    return found.get('name') if isinstance(found, Mapping) else found
