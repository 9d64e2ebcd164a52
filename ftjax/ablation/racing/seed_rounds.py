"""Rounds of a race in which arms still in question get seeds, with a look after each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.racing.ledger import Round
from ftjax.ablation.racing.looks import Look
from ftjax.ablation.racing.spending import spent
from ftjax.ablation.racing.standing import Standing, Terms, choice_of
from ftjax.ablation.rates.choice import score_of
from ftjax.ablation.statistics.comparison import Comparison

FIRST_LOOK = 3
"""Seeds of the first look: below three, a variance is hardly known."""
GROWTH = 4.0
"""Seeds of a look over those of the one before: few looks, because each costs power."""
Scores = dict[str, list[float]]
Compare = Callable[[Scores, float], Comparison]
"""(arm to scores, NaN for a run that is not there; alpha) -> all arms compared."""


def seed_rounds(terms: Terms, standing: Standing, compare: Compare) -> Iterator[Round]:
    """The rounds; `standing` gets the looks, and why the race ended."""
    ledger, draws = standing.ledger, terms.draws
    asked = [arm for arm in terms.arms if arm in standing.rates and arm != terms.reference]
    seen, used = 1, 0.0
    while asked:
        if seen >= len(draws):
            standing.ended = f'all {len(draws)} seeds were run'
            return
        seeds = _affordable(terms, standing, asked, seen)
        if seeds is None:
            standing.ended = 'no further round fits the budget'
            return
        yield standing.round(f'seeds up to {seeds}', _with(terms, standing, asked, seeds))
        seen = seeds
        _choose_again(terms, standing, (terms.reference, *asked), seen)
        last = seen == len(draws) or _affordable(terms, standing, asked, seen) is None
        total = spent(1.0 if last else seen / len(draws), terms.alpha)
        look = Look(
            seeds=seen,
            alpha=total - used,
            alpha_spent=total,
            spent=ledger.spent,
            last=last,
            comparison=compare(_scores(terms, standing, seen), total - used),
            asked=tuple(asked),
        )
        used = total
        standing.looks.append(look)
        asked = [arm for arm in asked if arm not in look.decided]
        if asked and last and seen < len(draws):
            standing.ended = 'no further round fits the budget'
            return
    standing.ended = 'every verdict is decided'


def _affordable(terms: Terms, standing: Standing, asked: Sequence[str], seen: int) -> int | None:
    """Seeds of the next look: as planned, or as many as the budget takes; None for none."""
    first = max(FIRST_LOOK, standing.settled)
    target = math.ceil(seen * GROWTH) if standing.looks else first
    target = min(max(target, seen + 1), len(terms.draws))
    for seeds in range(target, max(seen, 1), -1):
        cells = standing.ledger.new(_with(terms, standing, asked, seeds))
        if standing.ledger.fits(cells):
            return seeds
    return None


def _with(terms: Terms, standing: Standing, asked: Sequence[str], seeds: int) -> list[Cell]:
    """Cells of the reference and of arms in question, with so many seeds."""
    return [
        (arm, rate, draw)
        for arm in (terms.reference, *asked)
        for rate in standing.candidates.get(arm, (standing.rates[arm],))
        for draw in terms.draws[:seeds]
    ]


def _choose_again(terms: Terms, standing: Standing, arms: Sequence[str], seeds: int) -> None:
    """The best rate of arms that still have several, by validation on all seeds so far."""
    for arm in arms:
        rates = standing.candidates.get(arm, ())
        if len(rates) > 1:
            best = choice_of(terms, standing, arm, rates, seeds).rate
            standing.rates[arm] = standing.rates[arm] if best is None else best


def _scores(terms: Terms, standing: Standing, seeds: int) -> Scores:
    scores = {}
    for arm, rate in standing.rates.items():
        rows = [standing.ledger.row((arm, rate, draw)) for draw in terms.draws[:seeds]]
        found = [None if row is None else score_of(row, terms.metric) for row in rows]
        scores[arm] = [math.nan if score is None else score for score in found]
    return scores
