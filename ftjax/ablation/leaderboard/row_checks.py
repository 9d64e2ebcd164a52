"""What the rows of a setting must show before a number in them is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from ftjax.ablation.leaderboard.settings_found import Located
from ftjax.evaluation.example_scores import unpacked

T = TypeVar('T')
FEWEST_SEEDS = 3


def problems(
    arms: Mapping[str, Sequence[Located]], among: Mapping[str, Sequence[Located]] | None = None
) -> dict[str, list[str]]:
    """{arm: what is wrong with it}, in words; [] for an arm in order.

    An arm is in order if it has three seeds or more, those of most arms, as many trials as they
    have, its rate chosen with the same seeds, the data and steps of the others, one set of weights,
    a commit without changes, frozen weights that did not move, scores that are those of its
    examples, and no test examples in training: of a setting to join, no more than its own arms
    have at that seed.

    Args:
      arms: their rows.
      among: arms of the setting to join, which say what most arms have; where it is None these
        themselves say it.
    """
    copies = {} if among is None else copies_by_seed(among)
    among = arms if among is None else among
    seeds = most_common([frozenset(one.row['seed'] for one in rows) for rows in among.values()])
    tuned = [rows for rows in among.values() if rates_of(rows) != {None}]
    trials = most_common([len(rates_of(rows)) for rows in tuned]) if tuned else 0
    tuning = most_common([tuning_seeds(rows) for rows in tuned]) if tuned else frozenset()
    data = data_by_seed([one for rows in among.values() for one in rows])
    steps = [one.row['steps'] for rows in tuned for one in rows if one.row.get('steps')]
    return {
        arm: [
            *of_seeds(rows, seeds),
            *of_trials(rows, trials, tuning),
            *of_data(rows, data),
            *of_steps(rows, most_common(steps) if steps else None),
            *of_each(rows, copies),
        ]
        for arm, rows in arms.items()
    }


def of_seeds(rows: Sequence[Located], seeds: frozenset[int]) -> Iterator[str]:
    """Too few seeds, or other ones than most arms have."""
    own = frozenset(one.row['seed'] for one in rows)
    if len(own) < FEWEST_SEEDS:
        yield f'{len(own)} seed{"" if len(own) == 1 else "s"}'
    if own != seeds:
        yield 'other seeds than most arms'


def of_trials(rows: Sequence[Located], trials: int, tuning: frozenset[int]) -> Iterator[str]:
    """Another number of rates than most arms, or rates that were chosen with other seeds."""
    rates = rates_of(rows)
    if rates != {None} and len(rates) != trials:
        yield f'{len(rates)} trials, most arms {trials}'
    if rates != {None} and tuning_seeds(rows) != tuning:
        yield 'rates chosen with other seeds than those of most arms'


def of_data(rows: Sequence[Located], data: Mapping[int, object]) -> Iterator[str]:
    """Data that are not those of the others at the same seed, or are not told."""
    finished = finished_of(rows)
    if any(fingerprint(one) is None for one in finished):
        yield 'rows without a fingerprint of the data'
    elif any(fingerprint(one) != data.get(one.row['seed'], None) for one in finished):
        yield 'other data than most arms'


def of_steps(rows: Sequence[Located], steps: int | None) -> Iterator[str]:
    """More steps than most arms were trained for."""
    if steps is not None and any((one.row.get('steps') or 0) > steps for one in rows):
        yield f'more than the {steps} steps of most arms'


def of_each(rows: Sequence[Located], copies: Mapping[int, int]) -> Iterator[str]:
    """What single rows show: weights, commit, frozen weights, scores of examples, copies.

    Args:
      rows: of an arm.
      copies: seed to the test examples that stand in training anyway; none where it is left out.
    """
    told = [one.row.get('identity') or {} for one in rows]
    if not all(told):
        yield 'rows that do not say what made them'
    elif any(not one.get('commit') for one in told):
        yield 'no commit'
    elif any(one.get('dirty') for one in told):
        yield 'code that was changed after its commit'
    loaded = {str((one.get('weights') or {}).get('loaded')) for one in told if one}
    if len(loaded) > 1:
        yield 'rows of different pretrained weights'
    if any(one.row.get('frozen_unchanged') is False for one in rows):
        yield 'frozen weights that moved'
    if any(not scores_agree(one) for one in rows):
        yield 'a score that is not that of its examples'
    if any(copies_in(one) > copies.get(one.row['seed'], 0) for one in rows):
        yield 'test examples that stand in training'


def copies_in(located: Located) -> int:
    """Test examples of a row that also stand in training, as far as it tells."""
    return (located.row.get('leaks') or {}).get('exact') or 0


def copies_by_seed(arms: Mapping[str, Sequence[Located]]) -> dict[int, int]:
    """Seed to the test examples that stand in training, in most of its rows."""
    found: dict[int, list[int]] = {}
    for one in (one for rows in arms.values() for one in finished_of(rows)):
        found.setdefault(one.row['seed'], []).append(copies_in(one))
    return {seed: most_common(counts) for seed, counts in found.items()}


def scores_agree(located: Located) -> bool:
    """Whether the score of a row is the mean of the scores of its examples, where it has them."""
    packed = located.row.get('examples')
    return not packed or unpacked(packed).agree_with(located.row.get('test') or {})


def rates_of(rows: Sequence[Located]) -> set[float | None]:
    """The rates that an arm tried; None alone for one that is not trained."""
    return {one.row['rate'] for one in rows}


def tuning_seeds(rows: Sequence[Located]) -> frozenset[int]:
    """The seeds that every rate of an arm was run with: those that choose among them."""
    by_rate: dict[float | None, set[int]] = {}
    for one in rows:
        by_rate.setdefault(one.row['rate'], set()).add(one.row['seed'])
    return frozenset(set.intersection(*by_rate.values()))


def finished_of(rows: Sequence[Located]) -> list[Located]:
    """Those of runs that finished: others do not tell of their data."""
    return [one for one in rows if one.row['status'] == 'ok']


def fingerprint(located: Located) -> object:
    """Of the three splits of a row; None where it does not say."""
    return located.row.get('data_fingerprint')


def data_by_seed(rows: Sequence[Located]) -> dict[int, object]:
    """Seed to the data that most of its rows have."""
    finished = finished_of(rows)
    seeds = {one.row['seed'] for one in finished}
    return {
        seed: most_common([fingerprint(one) for one in finished if one.row['seed'] == seed])
        for seed in seeds
    }


def most_common(values: Sequence[T]) -> T:
    """What stands most often; of equals the first."""
    return max(values, key=values.count)
