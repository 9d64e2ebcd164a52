"""What a config may say of how arms choose by validation: `ablation.search`, `tune`, seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.rates.trials import SEARCHES
from ftjax.errors import UserError, check_name, shown


def check_search(
    fields: Mapping[str, Any],
    grids: Mapping[str, Sequence[float]],
    changes: Mapping[str, Mapping[str, object]],
) -> None:
    """UserError where the search cannot be run as it is given.

    Args:
      fields: of config.ablation.
      grids: starting rates of each arm that has a rate to tune.
      changes: of the config, by each of these arms.
    """
    equal, search, seeds = fields['equal'], fields['search'], len(fields['seeds'])
    check_name(equal, ('steps', 'compute'), 'config.ablation.equal:')
    check_name(search, SEARCHES, 'config.ablation.search:')
    for arm, rates in grids.items() if search != 'grid' else ():
        if len(set(rates)) < 2:
            raise UserError(
                f'config.ablation.search {search!r} draws between two rates at least; '
                f'arm {arm!r} has {len(rates)}'
            )
    if fields['tuning_seeds'] > seeds:
        raise UserError(
            f'config.ablation.tuning_seeds is {fields["tuning_seeds"]}, and there are {seeds} seeds'
        )
    others = {'tune': fields['tune'], 'search': search != 'grid', 'budget': fields['budget']}
    for name, given in others.items() if fields['tuning_seeds'] else ():
        if given:
            raise UserError(
                f'config.ablation.tuning_seeds does not go with config.ablation.{name}, which '
                'decides itself what is run with which seed'
            )
    for key, values in fields['tune'].items():
        where = f'config.ablation.tune: {key!r}'
        if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or not values:
            raise UserError(f'{where} is {shown(values)}; expected values to try, (0.0, 0.01)')
        if len({shown(value, 10**6) for value in values}) < len(values):
            raise UserError(f'{where} names a value twice')
        if key == 'optimizer.learning_rate':
            raise UserError(f'{where} is what config.ablation.rates are for')
        if equal == 'compute' and key in ('train.epochs', 'train.steps'):
            raise UserError(f"{where} cannot be chosen where config.ablation.equal is 'compute'")
        for arm, changed in changes.items():
            if {key, key.split('.')[0]} & set(changed):
                raise UserError(f'{where} is set by arm {arm!r} itself')
