"""What a config says about an ablation: `config.ablation`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError, check_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """Arms x rates x seeds, and how they are compared."""

    arms: Mapping[str, Any]
    """Name to a freezing strategy, or to changes of the config: {'init': 'random:glyphs'}.
    {'baseline': 'pixels'} is a logistic regression on the raw inputs."""
    rates: tuple[float, ...]
    """Starting grid of learning rates, the same for every arm."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each decides the split, the few-shot subset, the order and new weights, for all arms."""
    reference: str = ''
    """Arm the others are compared with; empty for the first."""
    metric: str = 'accuracy'
    max_extra: int = 1
    """Rounds of further rates where a winner lies on the grid's edge."""
    question: str = ''

    def __post_init__(self):
        object.__setattr__(self, 'rates', tuple(float(rate) for rate in self.rates))
        object.__setattr__(self, 'seeds', tuple(self.seeds))
        if not self.arms:
            raise UserError('config.ablation.arms names no arm')
        if not self.rates or min(self.rates) <= 0:
            raise UserError('config.ablation.rates must be learning rates above 0')
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError('config.ablation.seeds must be different whole numbers')
        if self.reference:
            check_name(self.reference, self.arms, 'reference arm')

    @property
    def tuned(self) -> tuple[str, ...]:
        """The arms that have a learning rate to tune."""
        return tuple(name for name in self.arms if 'baseline' not in self.changes(name))

    def changes(self, arm: str) -> dict[str, Any]:
        """What an arm changes in the config."""
        given = self.arms[arm]
        return {'freeze': given} if isinstance(given, str) else dict(given)


def read_ablation(values: Mapping[str, Any]) -> AblationSettings:
    """AblationSettings from a config's section; raises UserError for an unknown key."""
    known = [field.name for field in dataclasses.fields(AblationSettings)]
    for key in values:
        check_name(key, known, 'key of config.ablation:')
    missing = [name for name in ('arms', 'rates') if name not in values]
    if missing:
        raise UserError(f'config.ablation.{missing[0]} is missing')
    return AblationSettings(**values)
