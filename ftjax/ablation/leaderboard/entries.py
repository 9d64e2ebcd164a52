"""Entries of the leaderboard: an arm in a setting by a metric, with cost, rows and checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftjax.ablation.leaderboard.as_reported import as_reported
from ftjax.ablation.leaderboard.row_checks import problems
from ftjax.ablation.leaderboard.settings_found import Located, Setting
from ftjax.ablation.rates.choice import SAME
from ftjax.ablation.statistics.row_types import RowList
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError
from ftjax.tasks.metrics import known_metrics, metric_of

BUDGETS = (0.25, 0.5, 0.75)
"""Of the FLOPs of a step, as shares of those of the costliest arm of a setting."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the leaderboard."""

    setting: str
    metric: str
    higher_is_better: bool
    arm: str
    mean: Mapping[str, Any]
    """An interval: estimate, low, high."""
    difference: Mapping[str, Any] | None
    """To the reference arm, with a verdict; None for that arm."""
    reference: str
    seeds: tuple[tuple[float, Located], ...]
    """The score of every seed and the row that it stands in."""
    rate: float | None
    edge: bool
    """Whether the rate is the lowest or the highest that was tried."""
    trials: int
    share: float | None
    """Of the parameters, how many train."""
    cost: float | None
    """FLOPs of a step over those of the costliest arm of the setting; None where not known."""
    optimizer_bytes: float | None
    commits: tuple[str, ...]
    """That its rows were made at, shortened; none where they do not say."""
    problems: tuple[str, ...]


def entries_of(setting: Setting) -> Iterator[Entry]:
    """The entries of a setting, metric by metric, the best first.

    Raises:
      UserError: rows that cannot be compared: no rate was run with a seed that all rates had; or
        none is of an arm that the report beside them names.
    """
    if not setting.rows:
        raise UserError('no row is of an arm, seed and rate of its report; read the report instead')
    found = problems(setting.arms)
    for name in by_report(metrics_of([one.row for one in setting.rows]), setting):
        rows, options = as_reported(setting, name)
        summary: Any = summarise(rows, metric=name, **options)
        arms = with_differences_of_others(summary['tasks'][0]['arms'], rows, name, options)
        listed = [arm for arm in arms if arm['mean'] is not None]
        costliest = max((arm['step_flops'] or 0.0 for arm in listed), default=0.0)
        sign = -1.0 if summary['higher_is_better'] else 1.0
        for arm in sorted(listed, key=lambda arm: sign * arm['mean']['estimate']):
            flops = arm['step_flops']
            seeds = tuple(seeds_of(setting.arms[arm['arm']], arm, name))
            yield Entry(
                setting=setting.name,
                metric=name,
                higher_is_better=summary['higher_is_better'],
                arm=arm['arm'],
                mean=arm['mean'],
                difference=arm['difference'],
                reference=summary['reference'],
                seeds=seeds,
                rate=arm['rate'],
                edge=bool(arm['rate_edge']),
                trials=arm['n_trials'],
                share=arm['trainable_share'],
                cost=flops / costliest if flops and costliest else None,
                optimizer_bytes=arm['optimizer_bytes'],
                commits=commits_of([located for _, located in seeds]),
                problems=tuple(found[arm['arm']]),
            )


def with_differences_of_others(
    arms: Sequence[Any], rows: RowList, metric: str, options: Mapping[str, Any]
) -> list[Any]:
    """The arms of a race, and those that it did not have with differences as outside a race.

    Its looks were at its own arms; a submission was looked at by none.

    Args:
      arms: of the summary made with these options.
      rows, metric, options: what it was made of.
    """
    race = options.get('races')
    others = [arm['arm'] for arm in arms if race and arm['arm'] not in race['']['verdicts']]
    if not others:
        return list(arms)
    without: dict[str, Any] = {key: value for key, value in options.items() if key != 'races'}
    plain: Any = summarise(rows, metric=metric, **without)
    apart = {arm['arm']: arm['difference'] for arm in plain['tasks'][0]['arms']}
    more = {name: {'difference': apart[name]} for name in others}
    return [{**arm, **more.get(arm['arm'], {})} for arm in arms]


def seeds_of(
    rows: Sequence[Located], arm: Mapping[str, Any], metric: str
) -> Iterator[tuple[float, Located]]:
    """Score and row of every finished seed at the rate that was chosen."""
    for one in sorted(rows, key=lambda one: one.row['seed']):
        rate = one.row['rate']
        at = rate is None or abs(rate - arm['rate']) <= SAME * arm['rate']
        score = metric_of(metric).value_in(one.row.get('test') or {})
        if at and one.row['status'] == 'ok' and score is not None:
            yield score, one


def metrics_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Metrics that every finished row has on validation and test data, accuracy first."""
    ok = [row for row in rows if row['status'] == 'ok']
    names = [
        name
        for name in known_metrics()
        if ok
        and all(
            (row.get(split) or {}).get(name) is not None for row in ok for split in ('val', 'test')
        )
    ]
    return sorted(names, key=lambda name: (name == 'loss', name != 'accuracy', name))


def by_report(names: Sequence[str], setting: Setting) -> list[str]:
    """Metrics with that of the report first, where there is one."""
    own = setting.report and setting.report['metric']
    return sorted(names, key=lambda name: metric_of(name).name != own)


def commits_of(rows: Sequence[Located]) -> tuple[str, ...]:
    """The commits that rows were made at, shortened."""
    told = [(one.row.get('identity') or {}).get('commit') for one in rows]
    return tuple(dict.fromkeys(str(commit)[:12] for commit in told if commit))


def all_entries(settings: Mapping[str, Setting]) -> tuple[list[Entry], dict[str, str]]:
    """The entries of all settings, and of those that have none the reason."""
    found: list[Entry] = []
    without: dict[str, str] = {}
    for name, setting in settings.items():
        try:
            more = list(entries_of(setting))
        except UserError as error:
            without[name] = str(error)
            continue
        found += more
        if not more:
            without[name] = 'no metric that every row has on validation and on test data'
    return found, without


def within(entry: Entry, setting: str = '', metric: str = '', budget: float | None = None) -> bool:
    """Whether an entry passes filters; one without a known cost passes no budget."""
    fits = budget is None or (entry.cost is not None and entry.cost <= budget)
    return fits and setting in ('', entry.setting) and metric in ('', entry.metric)
