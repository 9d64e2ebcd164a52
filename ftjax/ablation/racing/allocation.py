"""The cells of a race's next round: one more seed for the arms in question, and for which rates.

Every arm in question, and the reference, goes on at the rate that is ahead on validation. What the
budget has left beyond that, up to the last seed, goes to further rates that may yet come out ahead:
those first where a further rate is worth most for what it costs, which is the chance that it is
chosen in the end times the chance that the verdict is open. A rate of the reference counts for all
arms in question, since each is compared with it. A rate that was left behind may come back, and
then runs the seeds that it lacks.

A rate is chosen among those that have all seeds of its arm, so that no luck of a seed enters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.racing.chances import Scores, chance_of_rate, noise_of_rates
from ftjax.ablation.racing.race_state import RaceState, Terms, choice_of, curve_of, runs_of

UNLIKELY = 0.01
"""A rate with a smaller chance to be chosen in the end gets no further seeds."""
LEAST_SEEDS = 3
"""Seeds that a race keeps its budget for before it tries rates: below them a variance is hardly
known."""


def horizon(terms: Terms, state: RaceState, asked: Sequence[str], seen: int) -> int:
    """Seeds that arms in question come to within the budget, each at one rate."""
    live = (terms.reference, *asked)
    for seeds in range(len(terms.draws), seen, -1):
        if state.ledger.fits(ahead(terms, state, live, seen, seeds)):
            return seeds
    return seen


def ahead(terms: Terms, state: RaceState, arms: Sequence[str], seen: int, seeds: int) -> list[Cell]:
    """Cells of arms at the rate that is ahead, after the seeds seen."""
    return [(arm, state.rates[arm], draw) for arm in arms for draw in terms.draws[seen:seeds]]


def next_cells(
    terms: Terms, state: RaceState, asked: Sequence[str], seen: int, open_: Mapping[str, float]
) -> list[Cell]:
    """The cells of the next seed; none where that seed does not fit the budget.

    Args:
      asked: arms in question.
      seen: seeds that these have run.
      open_: arm to the chance that its verdict is open.
    """
    live = (terms.reference, *asked)
    most = horizon(terms, state, asked, seen)
    if most == seen:
        return []
    cells = ahead(terms, state, live, seen, seen + 1)
    ledger, draws = state.ledger, len(terms.draws)
    # Where the budget is short, rates are looked at with a second seed before arms get a fourth;
    # where it nearly reaches the last seed, arms that stop will leave what is lacking.
    short = 2 * most <= draws
    kept_for = min(most, LEAST_SEEDS) if short and seen == 1 else most if short else draws
    kept = ahead(terms, state, live, seen, kept_for)
    left = ledger.budget.amount - ledger.spent - ledger.forecast(kept)
    for _, arm, rate in sorted(_further(terms, state, asked, seen, most, open_), reverse=True):
        end = seen + 1 if short and seen == 1 else most
        cost = ledger.alone(arm) * (end - runs_of(terms, state, arm, rate))
        if cost <= left:
            left -= cost
            cells += [(arm, rate, draw) for draw in terms.draws[: seen + 1]]
    while not ledger.fits(ledger.new(cells)):
        cells.pop()  # workers share seconds out less evenly than was reckoned
    return list(ledger.new(cells))


def _further(
    terms: Terms,
    state: RaceState,
    asked: Sequence[str],
    seen: int,
    most: int,
    open_: Mapping[str, float],
) -> Iterator[tuple[float, str, float]]:
    """(worth for its cost, arm, rate) of rates that are not ahead but may be in the end."""
    scores = {arm: _scores(terms, state, arm) for arm in terms.tuned if arm in state.rates}
    noise = noise_of_rates(list(scores.values()))
    for arm in (terms.reference, *asked):
        best = state.rates[arm]
        if best is None:
            continue
        weight = open_.get(arm, sum(open_[one] for one in asked))
        cost = max(state.ledger.alone(arm), 1e-9)
        others = [rate for rate in scores[arm] if rate != best]
        others.sort(key=lambda rate: _first(scores[arm][rate]), reverse=True)
        for rank, rate in enumerate(others):
            chance = chance_of_rate(scores[arm][rate], scores[arm][best], most, noise, rank)
            if chance >= UNLIKELY:
                yield chance * weight / cost, arm, rate


def _scores(terms: Terms, state: RaceState, arm: str) -> dict[float, Scores]:
    found: dict[float, Scores] = {}
    for rate in state.full[arm]:
        count = runs_of(terms, state, arm, rate)
        (point,) = curve_of(terms, state, arm, (rate,), count)
        sign = terms.metric.sign
        values = [point.values[draw] for draw in terms.draws[:count]]
        found[rate] = [None if value is None else sign * value for value in values]
    return found


def _first(scores: Scores) -> float:
    return -math.inf if scores[0] is None else scores[0]


def choose_again(terms: Terms, state: RaceState, arms: Sequence[str], seen: int) -> None:
    """The best rate of arms by validation, among those that have all seeds so far."""
    for arm in arms:
        if state.rates[arm] is None:
            continue
        rates = [r for r in state.full[arm] if runs_of(terms, state, arm, r) >= seen]
        best = choice_of(terms, state, arm, rates, seen, state.tried[arm]).rate
        state.rates[arm] = state.rates[arm] if best is None else best
