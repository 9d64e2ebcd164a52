"""Rounds of a race in which arms still in question get seeds, with a look after each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from ftjax.ablation.racing.allocation import choose_again, horizon, next_cells
from ftjax.ablation.racing.chances import open_chance
from ftjax.ablation.racing.ledger import Round
from ftjax.ablation.racing.looks import Look
from ftjax.ablation.racing.race_state import RaceState, Terms
from ftjax.ablation.racing.spending import early, is_due
from ftjax.ablation.rates.choice import score_of
from ftjax.ablation.statistics.comparison import Comparison

Scores = dict[str, list[float]]
Compare = Callable[[Scores, float], Comparison]
"""(arm to scores, NaN for a run that is not there; alpha) -> all arms compared."""
SHORT = 'no further round fits the budget'


def seed_rounds(terms: Terms, state: RaceState, compare: Compare) -> Iterator[Round]:
    """The rounds; `state` gets the looks, and why the race ended."""
    ledger, draws = state.ledger, terms.draws
    asked = [arm for arm in terms.arms if arm in state.rates and arm != terms.reference]
    seen, used, open_ = 1, 0.0, dict.fromkeys(asked, 1.0)
    while asked:
        if seen >= len(draws):
            state.ended = f'all {len(draws)} seeds were run'
            return
        cells = next_cells(terms, state, asked, seen, open_)
        if not cells:
            state.ended = SHORT
            return
        seen += 1
        yield state.round(f'seeds up to {seen}', cells)
        choose_again(terms, state, (terms.reference, *asked), seen)
        last = seen == len(draws) or horizon(terms, state, asked, seen) == seen
        level = terms.alpha - used if last else early(terms.alpha, used)
        before = state.looks[-1].seeds if state.looks else 0
        if not level or not (last or is_due(seen, before)):
            continue
        used += level
        comparison = compare(_scores(terms, state, seen), level)
        look = Look(
            seeds=seen,
            alpha=level,
            alpha_spent=used,
            spent=ledger.spent,
            last=last,
            comparison=comparison,
            asked=tuple(asked),
        )
        state.looks.append(look)
        asked = [arm for arm in asked if arm not in look.decided]
        bound = _bound(terms)
        open_ = {
            arm: open_chance(comparison[arm], seen, len(draws), bound, terms.margin)
            for arm in asked
        }
        if asked and last and seen < len(draws):
            state.ended = SHORT
            return
    state.ended = 'every verdict is decided'


def _bound(terms: Terms) -> float:
    """Half the width of intervals with all seeds, in standard errors: about that of Dunnett."""
    from scipy import special

    arms = max(1, len(terms.arms) - 1)
    degrees = arms * (len(terms.draws) - 1)
    return float(special.stdtrit(degrees, 1 - terms.alpha / (2 * arms)))


def _scores(terms: Terms, state: RaceState, seeds: int) -> Scores:
    scores = {}
    for arm, rate in state.rates.items():
        rows = [state.ledger.row((arm, rate, draw)) for draw in terms.draws[:seeds]]
        found = [None if row is None else score_of(row, terms.metric) for row in rows]
        scores[arm] = [math.nan if score is None else score for score in found]
    return scores
