"""Rounds of a race in which arms still in question get seeds, with a look after each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.racing.ledger import Round
from ftjax.ablation.racing.looks import Look
from ftjax.ablation.racing.race_state import RaceState, Terms, choice_of
from ftjax.ablation.racing.spending import spent
from ftjax.ablation.rates.choice import score_of
from ftjax.ablation.statistics.comparison import Comparison

FIRST_LOOK = 3
"""Seeds of the first look: below three, a variance is hardly known."""
GROWTH = 4.0
"""Seeds of a look over those of the one before: few looks, because each costs power."""
Scores = dict[str, list[float]]
Compare = Callable[[Scores, float], Comparison]
"""(arm to scores, NaN for a run that is not there; alpha) -> all arms compared."""


def seed_rounds(terms: Terms, state: RaceState, compare: Compare) -> Iterator[Round]:
    """The rounds; `state` gets the looks, and why the race ended."""
    ledger, draws = state.ledger, terms.draws
    asked = [arm for arm in terms.arms if arm in state.rates and arm != terms.reference]
    seen, used = 1, 0.0
    while asked:
        if seen >= len(draws):
            state.ended = f'all {len(draws)} seeds were run'
            return
        seeds = _affordable(terms, state, asked, seen)
        if seeds is None:
            state.ended = 'no further round fits the budget'
            return
        yield state.round(f'seeds up to {seeds}', _with(terms, state, asked, seeds))
        seen = seeds
        _choose_again(terms, state, (terms.reference, *asked), seen)
        last = seen == len(draws) or _affordable(terms, state, asked, seen) is None
        total = spent(1.0 if last else seen / len(draws), terms.alpha)
        look = Look(
            seeds=seen,
            alpha=total - used,
            alpha_spent=total,
            spent=ledger.spent,
            last=last,
            comparison=compare(_scores(terms, state, seen), total - used),
            asked=tuple(asked),
        )
        used = total
        state.looks.append(look)
        asked = [arm for arm in asked if arm not in look.decided]
        if asked and last and seen < len(draws):
            state.ended = 'no further round fits the budget'
            return
    state.ended = 'every verdict is decided'


def _affordable(terms: Terms, state: RaceState, asked: Sequence[str], seen: int) -> int | None:
    """Seeds of the next look: as planned, or as many as the budget takes; None for none."""
    first = max(FIRST_LOOK, state.settled)
    target = math.ceil(seen * GROWTH) if state.looks else first
    target = min(max(target, seen + 1), len(terms.draws))
    for seeds in range(target, max(seen, 1), -1):
        cells = state.ledger.new(_with(terms, state, asked, seeds))
        if state.ledger.fits(cells):
            return seeds
    return None


def _with(terms: Terms, state: RaceState, asked: Sequence[str], seeds: int) -> list[Cell]:
    """Cells of the reference and of arms in question, with so many seeds."""
    return [
        (arm, rate, draw)
        for arm in (terms.reference, *asked)
        for rate in state.candidates.get(arm, (state.rates[arm],))
        for draw in terms.draws[:seeds]
    ]


def _choose_again(terms: Terms, state: RaceState, arms: Sequence[str], seeds: int) -> None:
    """The best rate of arms that still have several, by validation on all seeds so far."""
    for arm in arms:
        rates = state.candidates.get(arm, ())
        if len(rates) > 1:
            best = choice_of(terms, state, arm, rates, seeds).rate
            state.rates[arm] = state.rates[arm] if best is None else best


def _scores(terms: Terms, state: RaceState, seeds: int) -> Scores:
    scores = {}
    for arm, rate in state.rates.items():
        rows = [state.ledger.row((arm, rate, draw)) for draw in terms.draws[:seeds]]
        found = [None if row is None else score_of(row, terms.metric) for row in rows]
        scores[arm] = [math.nan if score is None else score for score in found]
    return scores
