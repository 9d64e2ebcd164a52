"""WiSE-FT and model soups around one start, in and out of distribution.

All members of a soup start from the same weights, head included (a linear probe say), and
differ in their rate and the order of their batches. Wortsman et al. 2022: model soups
(arXiv:2203.05482) and WiSE-FT (arXiv:2109.01903).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from flax.traverse_util import unflatten_dict

from ftjax.config import Config, merged, read_config
from ftjax.data import Splits, load_data
from ftjax.errors import UserError, check_name
from ftjax.field_types import check_fields
from ftjax.freezing.strategies.weight_averages import interpolate, mean_of, soup_greedy
from ftjax.ranges import above, at_least
from ftjax.runs.evaluate import network_metrics
from ftjax.runs.prepare import Prepared, prepare
from ftjax.runs.run import train
from ftjax.training.sweeps.weight_averaging import SEEDS_APART, flat

SHIFTED = 'mean of shifts'
START, BEST, MEAN, UNIFORM, GREEDY = 'start', 'best member', 'members', 'uniform', 'greedy'


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoupSettings:
    """What a config says about soups: `config.soups`."""

    start: Mapping[str, Any]
    """Changes of the config for the run whose end all members start from:
    {'freeze': 'head', 'optimizer.learning_rate': 1e-2}."""
    shifts: Mapping[str, Mapping[str, Any]]
    """Name to changes of `config.data`: what is tested out of distribution."""
    rates: Annotated[tuple[float, ...], above(0)]
    """Learning rates of the members."""
    orders: Annotated[int, at_least(1)] = 3
    """Members a rate, each with another order of the batches."""
    seeds: Annotated[tuple[int, ...], at_least(0)] = (0, 1, 2, 3, 4)
    """Each decides the split, the few-shot subset, the start's head and the orders."""
    points: Annotated[int, at_least(3)] = 11
    """Points of the line between start and best member, ends included."""
    question: str = ''
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        check_fields(SoupSettings, dict(vars(self)), 'config.soups')
        for name in ('rates', 'seeds', 'notes'):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.seeds or not self.shifts:
            raise UserError('config.soups names no seeds or no shifts')
        if len(self.rates) * self.orders < 2:
            raise UserError('config.soups needs at least 2 members (rates times orders)')

    @property
    def alphas(self) -> tuple[float, ...]:
        """The points between the ends.

        >>> SoupSettings(start={}, shifts={'x': {}}, rates=(1e-3, 1e-2), points=5).alphas
        (0.25, 0.5, 0.75)
        """
        return tuple(round(float(a), 6) for a in np.linspace(0, 1, self.points)[1:-1])


def read_soups(values: Mapping[str, Any]) -> SoupSettings:
    """SoupSettings from a config's section; raises UserError for an unknown or missing key."""
    known = [field.name for field in dataclasses.fields(SoupSettings)]
    for key in values:
        check_name(key, known, 'key of config.soups:')
    missing = [name for name in ('start', 'shifts', 'rates') if name not in values]
    if missing:
        raise UserError(f'config.soups.{missing[0]} is missing')
    return SoupSettings(**values)


def wise(alpha: float) -> str:
    """The arm's name of a point between start (0) and best member (1).

    >>> wise(0.5)
    'WiSE-FT 0.5'
    """
    return f'WiSE-FT {alpha:g}'


def seed_rows(values: Mapping[str, Any], settings: SoupSettings, seed: int) -> list[dict[str, Any]]:
    """A row of `summarise` for the start, the members and every average of one seed.

    Members are chosen and greedy soups are made on validation data in distribution alone.

    Args:
      values: a config as plain dicts, without its section `soups`.

    Raises:
      UserError: members that move running statistics, which an average would have to estimate
        anew, or a shift whose test examples are others than those in distribution.
    """
    began = time.perf_counter()
    seeds = {'seed': seed, 'data.seed': seed}
    config = read_config(merged(values, {**settings.start, **seeds}))
    data = load_data(config.data)
    tests = [('', config, data), *shifted_tests(config, data, settings.shifts)]
    rates = [rate for rate in settings.rates for _ in range(settings.orders)]
    own = [
        read_config(
            merged(
                values,
                {
                    'data.seed': seed,
                    'seed': seed + SEEDS_APART * (number % settings.orders),
                    'optimizer.learning_rate': rate,
                },
            )
        )
        for number, rate in enumerate(rates)
    ]
    prepared = prepare(own[0], data)
    if prepared.plan.moving_stats:
        raise UserError(
            f'config.freeze {own[0].freeze!r} moves running statistics, which an average '
            "would have to estimate anew; expected {'strategy': .., 'norm': 'frozen'}"
        )
    probed, _ = train(prepare(config, data), progress=False)
    start, ends = flat(probed.variables), []
    for tuned in own:
        prepared = dataclasses.replace(prepare(tuned, data), variables=probed.variables)
        ends.append(flat(train(prepared, progress=False)[0].variables))

    def row(arm: str, weights: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        found = scores(prepared, unflatten_dict(dict(weights), sep='/'), tests)
        return {'arm': arm, 'rate': None, 'seed': seed, 'status': 'ok', **found, **more}

    members = [row(f'member {n}', end, own_rate=rates[n]) for n, end in enumerate(ends)]
    known = {id(end): member['val']['accuracy'] for end, member in zip(ends, members, strict=True)}

    def score(weights: Mapping[str, Any]) -> float:
        if id(weights) not in known:
            variables = unflatten_dict(dict(weights), sep='/')
            return validated(prepared, variables)
        return known[id(weights)]

    best = max(range(len(ends)), key=lambda n: (members[n]['val']['accuracy'], -n))
    greedy, evidence = soup_greedy(ends, start, score, len(ends))
    rows = [
        row(START, start),
        {**members[best], 'arm': BEST, 'members': [brief(member) for member in members]},
        {**members[best], 'arm': MEAN, **averaged(members)},
        row(UNIFORM, mean_of(ends)),
        row(GREEDY, greedy, taken=[rates[n] for n in evidence['taken']]),
        *(row(wise(alpha), interpolate(start, ends[best], alpha)) for alpha in settings.alphas),
    ]
    rows[0]['wall_seconds'] = time.perf_counter() - began  # of the whole seed
    return rows


def shifted_tests(
    config: Config, data: Splits, shifts: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, Config, Splits]]:
    """(name, config, data) of every shift, tested on the same examples in another guise."""
    made = []
    for name, changes in shifts.items():
        other = dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))
        shifted = load_data(other.data)
        if list(shifted.test.ids) != list(data.test.ids):
            raise UserError(
                f'config.soups.shifts.{name}: its test examples are not those in distribution; '
                'some may have been trained on'
            )
        made.append((name, other, shifted))
    return made


def scores(
    prepared: Prepared, variables: Any, tests: list[tuple[str, Config, Splits]]
) -> dict[str, Any]:
    """{'val', 'test': {'accuracy'}, 'shifts': {name: {'accuracy'}}} with the shifts' mean."""
    found = {
        name: network_metrics(prepared.network, variables, data, config, prepared.preprocessing)
        for name, config, data in tests
    }
    kept = {name: {'accuracy': float(one['accuracy'])} for name, one in found.items()}
    test = kept.pop('')
    mean = float(np.mean([one['accuracy'] for one in kept.values()]))
    return {
        'val': {'accuracy': validated(prepared, variables)},
        'test': test,
        'shifts': {SHIFTED: {'accuracy': mean}, **kept},
    }


def validated(prepared: Prepared, variables: Any) -> float:
    """Accuracy on the validation split in distribution."""
    found = network_metrics(
        prepared.network, variables, prepared.data, prepared.config, prepared.preprocessing, 'val'
    )
    return float(found['accuracy'])


def brief(member: Mapping[str, Any]) -> dict[str, Any]:
    """What is noted of a member beside the best."""
    return {
        'rate': member['own_rate'],
        'val': member['val']['accuracy'],
        'test': member['test']['accuracy'],
        'shifted': member['shifts'][SHIFTED]['accuracy'],
    }


def averaged(members: list[dict[str, Any]]) -> dict[str, Any]:
    """The means of the members' scores: what one of them has on average."""

    def mean(values: list[float]) -> dict[str, float]:
        return {'accuracy': float(np.mean(values))}

    return {
        'val': mean([m['val']['accuracy'] for m in members]),
        'test': mean([m['test']['accuracy'] for m in members]),
        'shifts': {
            name: mean([m['shifts'][name]['accuracy'] for m in members])
            for name in members[0]['shifts']
        },
    }
