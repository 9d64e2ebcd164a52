"""Rounds of a race in which every arm finds its rate, with equally many trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.grid.short_runs import short
from ftjax.ablation.racing.allocation import LEAST_SEEDS
from ftjax.ablation.racing.ledger import Round
from ftjax.ablation.racing.narrowing import (
    KEPT,
    SHARE,
    best_rates,
    narrowing,
    pilots_of,
    worth_it,
)
from ftjax.ablation.racing.race_state import RaceState, Terms, cells_of, choice_of, curve_of
from ftjax.ablation.rates.search import search_rates

Grid = Mapping[str, Sequence[float]]
TOO_SMALL = 'the budget does not take one run of every arm'


def rate_rounds(terms: Terms, state: RaceState) -> Iterator[Round]:
    """The rounds; afterwards `state` has the rate of every arm, or why the race has ended."""
    ledger = state.ledger
    first = terms.draws[:1]
    plain = [arm for arm in terms.arms if arm not in terms.tuned]
    state.rates = dict.fromkeys(plain)
    baselines = cells_of(dict.fromkeys(plain, (None,)), first)
    grids = {arm: sorted(terms.settings.grids[arm]) for arm in terms.tuned}
    pilots = pilots_of(terms.tuned, terms.reference)
    most = len(terms.settings.rates) if grids else 0
    shorts = {short(arm, SHARE): grid for arm, grid in grids.items()}
    there = bool(shorts) and set(shorts) <= set(terms.settings.arms)
    kept: Grid = {}
    if there and worth_it(len(grids), len(pilots), most) and _short_fits(terms, state, shorts):
        kept = yield from _narrowed(terms, state, shorts, pilots, baselines)
    else:
        # One rate first: what runs cost is then measured, and tells how many more are affordable.
        one = {arm: middle(grid, 1) for arm, grid in grids.items()}
        begin = state.round('first rate', [*cells_of(one, first), *baselines])
        if not ledger.fits(begin.cells):
            state.ended = TOO_SMALL
            return
        yield begin
        for count in range(most, 1, -1):
            some = {arm: middle(grid, count) for arm, grid in grids.items()}
            if ledger.fits(ledger.new(cells_of(some, first)), _reserve(terms)):
                yield from _search(terms, state, 'rates', some, cells_of(some, first))
                break
        kept = {arm: _tried(state, arm) for arm in terms.tuned}
        state.tried = {arm: tuple(rates) for arm, rates in kept.items()}
    if state.ended:
        return
    for arm in terms.tuned:
        state.full[arm] = tuple(kept[arm])
        choice = choice_of(terms, state, arm, kept[arm], 1)
        if choice.rate is not None:
            state.rates[arm] = choice.rate
    if terms.reference not in state.rates:
        state.ended = f'no run of the reference {terms.reference} finished'


def _reserve(terms: Terms) -> list[Cell]:
    """What arms still need to have the least number of seeds at one rate.

    Which rate makes no difference to the forecast.
    """
    return [(arm, None, draw) for arm in terms.arms for draw in terms.draws[1:LEAST_SEEDS]]


def _short_fits(terms: Terms, state: RaceState, shorts: Grid) -> bool:
    """Whether short runs, and a full one of every arm with the least number of seeds, fit."""
    whole = cells_of(dict.fromkeys(terms.arms, (None,)), terms.draws[:LEAST_SEEDS])
    return state.ledger.fits(cells_of(shorts, terms.draws[:1]), whole)


def _search(
    terms: Terms, state: RaceState, what: str, grid: Grid, cells: Sequence[Cell]
) -> Iterator[Round]:
    """The grid, and further rates while a best one is on an edge and the budget allows."""
    ledger = state.ledger
    first = state.round(what, cells)
    if not ledger.fits(first.cells):
        state.ended = TOO_SMALL
        return
    yield first
    while True:
        wanted = search_rates(
            [row for arm in grid for row in ledger.rows(arm)],
            arms=list(grid),
            grid=grid,
            seeds=terms.draws[:1],
            metric=terms.metric,
            max_extra=terms.settings.max_extra,
        ).pending
        if not wanted or not ledger.fits(wanted, _reserve(terms)):
            return
        yield state.round(f'further {what}', wanted)


def _narrowed(
    terms: Terms,
    state: RaceState,
    shorts: Grid,
    pilots: Sequence[str],
    baselines: Sequence[Cell],
) -> Iterator[Round]:
    """Short runs, full ones of pilots, and of the others those that short runs leave over.

    Returns the rates that every arm chooses among, as many for all.
    """
    ledger, first = state.ledger, terms.draws[:1]
    yield from _search(terms, state, 'short runs', shorts, [*cells_of(shorts, first), *baselines])
    if state.ended:
        return {}
    tried = {arm: _tried(state, short(arm, SHARE)) for arm in terms.tuned}
    state.tried = {arm: tuple(rates) for arm, rates in tried.items()}
    yield state.round('pilots in full', cells_of({arm: tried[arm] for arm in pilots}, first))
    curves = {arm: curve_of(terms, state, short(arm, SHARE), tried[arm], 1) for arm in tried}
    full = {arm: curve_of(terms, state, arm, tried[arm], 1) for arm in pilots}
    state.narrowed = narrowing(pilots, curves, full, terms.metric)
    if state.narrowed.held:
        found = {arm: choice_of(terms, state, short(arm, SHARE), tried[arm], 1) for arm in tried}
        tried = {arm: best_rates(choice, terms.metric, KEPT) for arm, choice in found.items()}
    wanted = state.round('rates', cells_of(tried, first))
    if not ledger.fits(wanted.cells):
        state.ended = 'full runs at the rates that short runs left over do not fit the budget'
        return {}
    yield wanted
    return tried


def _tried(state: RaceState, arm: str) -> list[float]:
    return sorted({row['rate'] for row in state.ledger.rows(arm)})


def middle(rates: Sequence[float], count: int) -> list[float]:
    """So many neighbours from the middle of sorted rates.

    >>> middle([1, 2, 3, 4, 5], 3), middle([1, 2, 3, 4], 1)
    ([2, 3, 4], [2])
    """
    start = (len(rates) - count) // 2
    return list(rates[start : start + count])
