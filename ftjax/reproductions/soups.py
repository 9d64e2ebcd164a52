"""WiSE-FT and model soups around one start, in and out of distribution, as arms of an ablation.

All members of a soup start from the same weights, head included (a linear probe say), and
differ in their rate and the order of their batches. Wortsman et al. 2022: model soups
(arXiv:2203.05482) and WiSE-FT (arXiv:2109.01903).

A config that calls `soup_arms` adds the baseline `soups`; further test sets are its shifts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from ftjax.ablation.cells.baselines import BASELINES, Baseline, fingerprints
from ftjax.ablation.cells.extra_test_sets import further_tests
from ftjax.ablation.cells.row import finished_fields, numbers_of
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.mean_interval import overlap_of
from ftjax.ablation.statistics.row_types import OwnRow
from ftjax.config import Config, merged, read_config
from ftjax.data import Splits
from ftjax.errors import UserError, check_name
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.field_types import check_fields
from ftjax.freezing.strategies.weight_averages import interpolate, mean_of, soup_greedy
from ftjax.io.files.atomic import to_jsonable
from ftjax.leaves import unflatten
from ftjax.pytrees import Variables
from ftjax.ranges import above, at_least
from ftjax.reproductions.soup_gates import soup_verdicts
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.prepare import Prepared, prepare
from ftjax.runs.run import train
from ftjax.tasks.metrics import metric_of
from ftjax.training.loop.fit import Diverged
from ftjax.training.sweeps.weight_averaging import SEEDS_APART, flat

SHIFTED = 'mean of shifts'
START, BEST, MEAN, UNIFORM, GREEDY = 'start', 'best member', 'members', 'uniform', 'greedy'
OF_ONE = ('examples', 'own_rate')
"""Fields of a member's row that a mean over members does not have."""
_LAST: dict[str, dict[str, OwnRow]] = {}
"""The rows of the seed that was made last, for its other arms."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Soup(Baseline):
    """One row of a soup: the start, the best member, the mean of the members, or an average."""

    take: str
    """Which of `arms_of`."""
    start: Variables
    """Changes of the config for the run whose end all members start from:
    {'freeze': 'head', 'optimizer.learning_rate': 1e-2}."""
    rates: Annotated[tuple[float, ...], above(0)]
    """Learning rates of the members."""
    orders: Annotated[int, at_least(1)] = 3
    """Members a rate, each with another order of the batches."""
    points: Annotated[int, at_least(3)] = 11
    """Points of the line between start and best member, ends included."""

    def __post_init__(self):
        object.__setattr__(self, 'rates', tuple(self.rates))
        check_fields(Soup, dict(vars(self)), 'baseline soups')
        check_name(self.take, arms_of(self.points), 'baseline soups: take')
        if len(self.rates) * self.orders < 2:
            raise UserError('baseline soups needs at least 2 members (rates times orders)')

    @property
    def group(self) -> str:
        """See Baseline."""
        return repr(dataclasses.replace(self, take=START))

    @property
    def runs(self) -> float:
        """See Baseline."""
        return (1 + len(self.rates) * self.orders) / len(arms_of(self.points))

    def check(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> None:
        """See Baseline."""
        assert prepared is not None
        if prepared.plan.moving_stats:
            raise UserError(
                f'config.freeze {prepared.config.freeze!r} moves running statistics, which an '
                "average would have to estimate anew; expected {'strategy': .., 'norm': 'frozen'}"
            )
        if not settings.also_evaluate:
            raise UserError(
                'baseline soups needs shifts: name some in config.ablation.also_evaluate'
            )
        if not metric_of(settings.metric, 'config.ablation.metric:').higher_is_better:
            raise UserError(
                f'baseline soups with config.ablation.metric={settings.metric!r}: expected a '
                'metric of which the highest is best'
            )

    def row(self, data: Splits, prepared: Prepared | None, settings: AblationSettings) -> OwnRow:
        """See Baseline."""
        assert prepared is not None
        described = prepared.config, settings.also_evaluate, settings.metric, data.fingerprint
        key = json.dumps([self.group, to_jsonable(described)])
        if key not in _LAST:
            _LAST.clear()
            try:
                _LAST[key] = seed_rows(self, prepared, settings)
            except (Diverged, NonFinitePredictions) as error:
                lost: OwnRow = {'status': 'diverged', 'reason': str(error)}
                _LAST[key] = dict.fromkeys(arms_of(self.points), lost)
        return _LAST[key][self.take]

    def verdicts(
        self, settings: AblationSettings, rows: Sequence[Mapping[str, object]]
    ) -> list[dict[str, object]]:
        """See Baseline."""
        return soup_verdicts(
            rows,
            start=START,
            best=BEST,
            uniform=UNIFORM,
            greedy=GREEDY,
            inside=[wise(alpha) for alpha in alphas(self.points)],
            shifted=SHIFTED,
            metric=settings.metric,
            overlap=overlap_of(settings.folds),
        )


BASELINES['soups'] = Soup


def soup_arms(**options: Any) -> dict[str, object]:
    """`config.ablation.arms` of a soup: every row that it has. The options are those of Soup.

    >>> list(soup_arms(start={'freeze': 'head'}, rates=(1e-3, 1e-2), points=3))[-2:]
    ['greedy', 'WiSE-FT 0.5']
    """
    arms = arms_of(options.get('points', Soup.points))
    return {arm: {'baseline': {'name': 'soups', 'take': arm, **options}} for arm in arms}


def arms_of(points: int) -> list[str]:
    """The rows of a soup."""
    return [START, BEST, MEAN, UNIFORM, GREEDY, *(wise(alpha) for alpha in alphas(points))]


def alphas(points: int) -> tuple[float, ...]:
    """The points between the ends of a line.

    >>> alphas(5)
    (0.25, 0.5, 0.75)
    """
    return tuple(round(float(a), 6) for a in np.linspace(0, 1, points)[1:-1])


def wise(alpha: float) -> str:
    """The name of a point between start (0) and best member (1).

    >>> wise(0.5)
    'WiSE-FT 0.5'
    """
    return f'WiSE-FT {alpha:g}'


def seed_rows(soup: Soup, prepared: Prepared, settings: AblationSettings) -> dict[str, OwnRow]:
    """The fields of the rows of the start, the members and every average of one seed.

    Members are chosen and greedy soups are made on validation data in distribution alone.

    Args:
      soup: rates, orders and points.
      prepared: on the data of the seed; its config is that of the members but for their rates.
      settings: whose further test sets are the shifts.

    Raises:
      Diverged: a run diverged.
      NonFinitePredictions: outputs of an average are no numbers.
    """
    config, data = prepared.config, prepared.data
    tests = further_tests(prepared, settings.also_evaluate)
    rates = [rate for rate in soup.rates for _ in range(soup.orders)]
    first = read_config(merged(config.to_json(), soup.start))
    probed, _ = train(prepare(first, data), progress=False)
    start, ends = flat(probed.variables), []
    for number, rate in enumerate(rates):
        own = prepare(_member(config, rate, number % soup.orders), data)
        own = dataclasses.replace(own, variables=probed.variables)
        ends.append(flat(train(own, progress=False)[0].variables))

    def validated(weights: Variables) -> OwnRow:
        return numbers_of(split_metrics(prepared, _tree(weights), 'val'))

    def row(weights: Variables, **more: object) -> OwnRow:
        metrics = split_metrics(prepared, _tree(weights))
        at = metrics.get('threshold')
        shifts = {test.name: test.metrics(_tree(weights), at) for test in tests}
        shifts = {SHIFTED: _means(list(shifts.values())), **shifts}
        return finished_fields(validated(weights), metrics, shifts, **more, **fingerprints(data))

    metric = settings.metric
    members = [row(end, own_rate=rate) for end, rate in zip(ends, rates, strict=True)]
    known = {id(end): one['val'][metric] for end, one in zip(ends, members, strict=True)}

    def score(weights: Variables) -> float:
        return known[id(weights)] if id(weights) in known else validated(weights)[metric]

    best = max(range(len(ends)), key=lambda n: (members[n]['val'][metric], -n))
    greedy, evidence = soup_greedy(ends, start, score, len(ends))
    mean = {split: _means([one[split] for one in members]) for split in ('val', 'test')}
    shifts = {
        name: _means([one['shifts'][name] for one in members]) for name in members[0]['shifts']
    }
    # What one member alone has: scores of examples, its rate.
    shared = {key: members[best][key] for key in members[best] if key not in OF_ONE}
    return {
        START: row(start),
        BEST: {**members[best], 'members': [_brief(member, metric) for member in members]},
        MEAN: {**shared, **mean, 'shifts': shifts},
        UNIFORM: row(mean_of(ends)),
        GREEDY: row(greedy, taken=[rates[n] for n in evidence['taken']]),
        **{wise(a): row(interpolate(start, ends[best], a)) for a in alphas(soup.points)},
    }


def _member(config: Config, rate: float, order: int) -> Config:
    optimizer = dataclasses.replace(config.optimizer, learning_rate=rate)
    seed = config.seed + SEEDS_APART * order
    return dataclasses.replace(config, seed=seed, optimizer=optimizer)


def _tree(weights: Variables) -> dict[str, object]:
    return unflatten(weights)


def _means(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Metric by metric the mean of several; None where one of them has none."""
    found: dict[str, float | None] = {}
    for name in scores[0]:
        known = [value for one in scores if (value := one[name]) is not None]
        found[name] = float(np.mean(known)) if len(known) == len(scores) else None
    return found


def _brief(member: Mapping[str, Any], metric: str) -> dict[str, object]:
    """What is noted of a member beside the best."""
    return {
        'rate': member['own_rate'],
        'val': member['val'][metric],
        'test': member['test'][metric],
        'shifted': member['shifts'][SHIFTED][metric],
    }
