"""Races replayed on stored and simulated grids, beside the full grid; nothing is trained."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ftjax.ablation.grid.short_runs import arm_and_share

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = 'python scripts/benchmark.py racing --out=results/statistics'
STORED = (('quickstart', 'full'), ('strategies', 'full'), ('reproductions/t1', 'all'))
SEEDS = (5, 10)
MARGIN = 0.01
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
CAPTION = (
    'Races held against full grids on the same scores. Full grid: all rates with all seeds, then '
    'one comparison at alpha 0.05. Race: config.ablation.budget is half of the time of the full '
    'grid. Of each stored grid, new grids were drawn from its means, effects of seeds and '
    'variances (normal), and runs take as long as they did. Simulated ones have arms of which a '
    'third differ from the reference by 0, by -1 to 1 and by -2 to -8 standard deviations of a '
    'run; `equal`: all by 0. Where rates '
    'are many, the race narrows them by short runs. Same: verdicts of arms that are those of the '
    'full grid; opposite: better in one and worse in the other; undecided: decided by one of them '
    'alone. Replicate: the same of two full grids with other seeds, as far as a verdict can be '
    'repeated at all: near a boundary, and where two rates are as good, chance decides. Half same: '
    'the same of the full grid and of one with half of its seeds, rounded up. False '
    'worse: grids in which an arm is called worse that is not, at the rate it chose. Time and '
    'runs: of the race over those of the full grid.'
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A kind of grid.

    Attributes:
      name: in the table.
      model: what scores are drawn from, those of short runs among them.
      reference: arm that the others are compared with.
      seeds: of the full grid.
    """

    name: str
    model: Any
    reference: str
    seeds: int

    @property
    def key(self) -> tuple[Any, ...]:
        """What its row is of."""
        arms = [arm for arm in self.model.rates if arm_and_share(arm)[1] == 1.0]
        return self.name, len(arms), self.seeds


def run(folder: pathlib.Path, replays: int = 60, only: str = '') -> list[dict[str, Any]]:
    """Writes racing.json and racing.md; rows that are there already are kept.

    Args:
      replays: grids drawn of each kind.
      only: grids whose name begins so.
    """
    from benchmarks.tables import known_rows, write

    from ftjax.io.process.progress import Progress

    rows = known_rows(folder, 'racing')
    rows = [row for row in rows if row['replays'] == replays]
    cases = [case for case in (*stored(), *simulated()) if case.name.startswith(only)]
    todo = [case for case in cases if case.key not in [key_of(row) for row in rows]]
    with Progress(len(todo), 'grids', unit='grid') as bar:
        for done, case in enumerate(todo, 1):
            rows.append(measured(case, replays))
            write(folder, 'racing', rows, CAPTION, COMMAND, show=False, timed=False)
            bar.update(done, {'grid': case.name})
    return rows


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row is of."""
    return row['grid'], row['arms'], row['seeds']


def stored() -> Iterator[Case]:
    """Grids like those under results/, a case for each task and number of seeds."""
    from ftjax.ablation.grid.rows import read_rows
    from ftjax.ablation.racing.stored import model_of
    from ftjax.tasks.metrics import metric_of

    for name, reference in STORED:
        rows = read_rows(ROOT / 'results' / name / 'runs.jsonl')
        for task in dict.fromkeys(row.get('task', '') for row in rows):
            of_task = [row for row in rows if row.get('task', '') == task]
            model = model_of(of_task, metric_of('accuracy'))
            for seeds in SEEDS:
                label = f'{name.split("/")[-1]} {task}'.strip()
                yield Case(label, model, reference, seeds)


def simulated() -> Iterator[Case]:
    """Grids with parabolas in log rate and a best rate inside."""
    for arms in (8, 30):
        for seeds in SEEDS:
            yield Case('simulated', simulated_model(arms, 'mixed'), 'arm 0', seeds)
    yield Case('simulated equal', simulated_model(8, 'equal'), 'arm 0', 10)


def simulated_model(arms: int, kind: str) -> Any:
    """The model of a grid, short runs included; a unit of score is a run's standard deviation."""
    from ftjax.ablation.grid.short_runs import short
    from ftjax.ablation.racing.narrowing import SHARE
    from ftjax.ablation.racing.stored import GridModel

    rng = np.random.default_rng(arms)
    rates, means, sds, seconds = {}, {}, {}, {}
    for number in range(arms):
        level = 0.0
        if number and kind == 'mixed':
            level = (0.0, rng.uniform(-1, 1), -rng.uniform(2, 8))[number % 3]
        best = rng.uniform(1.0, len(RATES) - 2.0)
        noise = np.exp(rng.normal(0, 0.3))
        for share in (1.0, SHARE):
            name = short(f'arm {number}', share)
            rates[name] = RATES
            shift = 0.0 if share == 1.0 else rng.uniform(-0.4, 0.4)
            for place, rate in enumerate(RATES):
                lost = 2.0 * (place - best - shift) ** 2 + 6.0 * (1 - share)
                means[name, rate] = np.full(2, level - lost)
                sds[name, rate] = np.array([1.2, 1.0]) * noise
                seconds[name, rate] = 10.0 * share
    return GridModel(rates, means, sds, seconds, np.array([[1.0, 0.5], [0.5, 1.0]]))


def measured(case: Case, replays: int) -> dict[str, Any]:
    """The row of a case."""
    from ftjax.ablation.budgets.budget import read_budget
    from ftjax.ablation.grid.cell_schedule import FullGrid
    from ftjax.ablation.racing.narrowing import pilots_of, worth_it
    from ftjax.ablation.racing.race import Race
    from ftjax.ablation.racing.replay import at, full_verdicts, play, replay
    from ftjax.ablation.settings import AblationSettings
    from ftjax.tasks.metrics import metric_of

    model, metric = case.model, metric_of('accuracy')
    kinds: dict[str, Any] = {
        arm: {'baseline': 'pixels'} if rates == (None,) else {'freeze': 'head', 'rates': rates}
        for arm, rates in model.rates.items()
    }
    full = {arm: kinds[arm] for arm in kinds if arm_and_share(arm)[1] == 1.0}
    common = next(rates for rates in model.rates.values() if rates != (None,))
    given: dict[str, Any] = {'rates': common, 'seeds': tuple(range(case.seeds)), 'max_extra': 0}
    settings = AblationSettings(arms=full, reference=case.reference, **given)
    pilots = pilots_of(settings.tuned, case.reference)
    narrowed = len(kinds) > len(full) and worth_it(len(settings.tuned), len(pilots), len(common))
    arms = kinds if narrowed else full
    race_settings = AblationSettings(arms=arms, reference=case.reference, **given)
    outside = [arm for arm in full if arm not in settings.tuned]
    rng = np.random.default_rng(0)
    expected = {
        arm: float(np.mean([model.seconds[arm, rate] for rate in model.rates[arm]]))
        for arm in kinds
    }
    whole = sum(model.seconds[arm, rate] for arm in full for rate in model.rates[arm]) * case.seeds
    found, halves = [], []
    for _ in range(replays):
        race = Race(
            settings=race_settings,
            budget=read_budget(f'{whole / 2:.6f} s'),
            expected=expected.__getitem__,
            margin=MARGIN,
            outside_prior=outside,
        )
        execute = at(model.draw(range(case.seeds), metric, rng))
        found.append(replay(settings, race, execute))
        less = dataclasses.replace(settings, seeds=settings.seeds[: (case.seeds + 1) // 2])
        half = full_verdicts(less, play(FullGrid(less), execute), race)[0]
        halves += [(one.verdict, found[-1].verdicts[one.arm][0]) for one in half]
    pairs = [pair for one in found for pair in one.verdicts.values()]
    of_full = [[pair[0] for pair in one.verdicts.values()] for one in found]
    again = [
        pair for one, other in itertools.pairwise(of_full) for pair in zip(one, other, strict=True)
    ]
    return {
        'grid': case.name,
        'arms': len(full),
        'rates': len(common),
        'seeds': case.seeds,
        'replays': replays,
        'short_runs': 'yes' if narrowed else 'no',
        'same': share([one == other for one, other in pairs]),
        'opposite': share([opposite(pair) for pair in pairs]),
        'undecided': share([one != other and 'undecided' in (one, other) for one, other in pairs]),
        'replicate_same': share([one == other for one, other in again]),
        'replicate_opposite': share([opposite(pair) for pair in again]),
        'half_same': share([one == other for one, other in halves]),
        'false_worse': share([false_worse(one, case) for one in found]),
        'false_worse_full': share([false_worse(one, case, 0) for one in found]),
        'same_rate': share([one == other for r in found for one, other in r.rates.values()]),
        'time': float(np.mean([one.seconds[1] / one.seconds[0] for one in found])),
        'runs': float(np.mean([one.runs[1] / one.runs[0] for one in found])),
    }


def opposite(pair: tuple[str, str]) -> bool:
    """Whether an arm is better in one and worse in the other."""
    return set(pair) == {'better', 'worse'}


def false_worse(one: Any, case: Case, which: int = 1) -> bool:
    """Whether an arm is called worse whose mean is not, at the rates chosen; 1: by the race."""

    def mean(arm: str) -> float:
        return float(case.model.means[arm, one.rates[arm][which]][1])

    called = [arm for arm, pair in one.verdicts.items() if pair[which] == 'worse']
    return any(mean(arm) >= mean(case.reference) for arm in called)


def share(values: list[bool]) -> float:
    """Of those that are true."""
    return float(np.mean(values)) if values else 0.0
