"""The vertex between rates, against numpy's polynomials, and its interval, against simulation."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from ftjax.ablation.rates.choice import choose_rate, rate_curve
from ftjax.ablation.rates.parabola import estimate_rate, fieller


def choice_of(rates, values, higher_is_better=True):
    """Values: (seeds, rates); nan is a diverged run."""
    rows = [
        {
            'arm': 'a',
            'rate': rate,
            'seed': seed,
            'status': 'diverged' if math.isnan(value) else 'ok',
            'val': {'accuracy': value},
        }
        for seed, of_seed in enumerate(values)
        for rate, value in zip(rates, of_seed, strict=True)
    ]
    return choose_rate(rate_curve(rows, 'accuracy'), higher_is_better=higher_is_better)


@pytest.mark.parametrize('sign', [1, -1])
def test_the_vertex_is_that_of_the_parabola_through_the_best_three(sign):
    rates = (1e-4, 1e-3, 2e-3, 1e-2, 1e-1)  # unequal steps, and a far one that must not count
    values = sign * np.array([[0.1, 0.71, 0.8, 0.6, 0.0], [0.1, 0.75, 0.78, 0.66, 0.3]])
    found = estimate_rate(choice_of(rates, values, sign > 0), higher_is_better=sign > 0)
    c2, c1, _ = np.polyfit(np.log(rates[1:4]), values.mean(0)[1:4], 2)
    assert found.rates == rates[1:4]
    assert found.rate == pytest.approx(math.exp(-c1 / (2 * c2)))


def test_no_estimate_at_an_edge_of_a_plateau_or_without_three():
    assert estimate_rate(choice_of((1e-3, 1e-2, 1e-1), [[0.9, 0.8, 0.7]])) is None
    assert estimate_rate(choice_of((1e-3, 1e-2, 1e-1), [[0.9, 0.9, 0.9]])) is None
    assert estimate_rate(choice_of((1e-3, 1e-2), [[0.9, 0.8]])) is None


def test_one_seed_has_no_interval_and_a_diverged_one_does_not_count():
    rates = (1e-3, 1e-2, 1e-1)
    one = estimate_rate(choice_of(rates, [[0.5, 0.9, 0.6]]))
    assert one.low is None and one.high is None and one.rate == pytest.approx(1e-2, rel=0.4)
    values = [[0.5, 0.9, 0.6], [0.5, 0.9, math.nan], [0.55, 0.9, 0.6]]
    assert estimate_rate(choice_of(rates, values)).seeds == (0, 2)


def test_interval_covers_the_true_vertex_as_often_as_it_says():
    rng = np.random.default_rng(0)
    rates, truth = (1e-3, 3e-3, 1e-2), math.log(4e-3)
    x = np.log(rates)
    curve = 0.9 - 0.1 * (x - truth) ** 2
    hits = bounded = 0
    for _ in range(1000):
        # Seeds shift the whole curve, and each run has noise of its own.
        values = curve + rng.normal(0, 0.05, (5, 1)) + rng.normal(0, 0.01, (5, 3))
        found = estimate_rate(choice_of(rates, values))
        if found is not None and found.low is not None:
            bounded += 1
            hits += found.low <= math.exp(truth) <= found.high
    assert bounded > 950
    assert abs(hits / bounded - 0.95) < 0.02


def test_a_bound_without_an_exponential_ends_at_the_outer_rate():
    """Fieller's denominator is hardly significant: bounds at e^700 and beyond."""
    rates = (1e-3, 1e-2, 1e-1)
    values = [[0.774, 0.807, 0.778], [0.776, 0.803, 0.797], [0.779, 0.805, 0.799]]
    found = estimate_rate(choice_of(rates, values))
    x, y = np.log(rates), np.array(values)
    slopes = (y[:, 2] - y[:, 0]) / (x[2] - x[0])
    curvatures = (y[:, 0] - 2 * y[:, 1] + y[:, 2]) / (2 * (x[1] - x[0]) ** 2)
    ends = sorted(x[1] - ratio / 2 for ratio in fieller(slopes, curvatures))
    assert ends[1] > 709.8 and x[0] < ends[0] < x[2]  # e^709.8 is the largest float
    assert found.low == pytest.approx(math.exp(ends[0])) and found.high == pytest.approx(0.1)
    assert found.rates[0] <= found.low <= found.rate <= found.high


def test_a_winner_that_is_not_best_on_the_shared_seeds_has_no_estimate():
    """The rate above is better on the seeds that finished there; one of its runs diverged."""
    rates = (1e-3, 1e-2, 1e-1, 1.0)
    values = [[0.5, 0.6, 0.695, 0.1], [0.51, 0.601, 0.699, 0.1], [0.5, 0.61, 0.706, 0.1]]
    choice = choice_of(rates, [*values, [0.505, 0.604, math.nan, 0.1]])
    c2, c1, _ = np.polyfit(np.log(rates[:3]), np.mean(values, 0)[:3], 2)
    assert choice.rate == 1e-2 and c2 < 0 and -c1 / (2 * c2) > math.log(rates[2])
    assert estimate_rate(choice) is None


def test_folds_widen_the_interval_of_the_vertex():
    rng = np.random.default_rng(0)
    values = np.array([0.7, 0.9, 0.8]) + rng.normal(0, 0.01, (5, 3))
    choice = choice_of((1e-3, 3e-3, 1e-2), values)
    alone, folded = estimate_rate(choice), estimate_rate(choice, overlap=0.25)
    assert folded.rate == alone.rate and folded.low < alone.low < alone.high < folded.high


def test_fieller_holds_the_ratios_that_a_t_test_keeps():
    rng = np.random.default_rng(1)
    above, below = rng.normal(1, 0.3, 6), rng.normal(-2, 0.4, 6)

    def p(ratio):
        return stats.ttest_1samp(above - ratio * below, 0).pvalue - 0.05

    middle = above.mean() / below.mean()
    ends = [optimize.brentq(p, middle + far, middle) for far in (-3, 3)]
    assert fieller(above, below) == pytest.approx(ends, rel=1e-6)
    assert fieller(above, below - below.mean()) is None
