"""What a race expects of seeds to come is what seeds then do, by simulation."""

import numpy as np
import pytest

from ftjax.ablation.racing.chances import (
    FIRST,
    LEAST_OPEN,
    chance_of_rate,
    noise_of_rates,
    open_chance,
)
from ftjax.ablation.racing.spending import EARLY, EVERY, MOST_EARLY, early, is_due
from ftjax.ablation.statistics.comparison import ArmComparison

SEEDS, KNOWN = 10, 4


def test_the_chance_of_a_rate_is_how_often_it_overtakes():
    # With a flat prior the mean difference is normal around the one seen: draw it, then the rest.
    rng = np.random.default_rng(0)
    noise, behind = 0.03, -0.01
    true = behind + noise / np.sqrt(KNOWN) * rng.standard_normal(200_000)
    rest = true + noise / np.sqrt(SEEDS - KNOWN) * rng.standard_normal(200_000)
    overtaken = np.mean(KNOWN * behind + (SEEDS - KNOWN) * rest > 0)
    found = chance_of_rate([0.8 + behind] * KNOWN, [0.8] * (KNOWN + 1), SEEDS, noise, 0)
    assert found == pytest.approx(overtaken, abs=0.005) and 0.05 < found < 0.45


def test_a_rate_that_failed_where_the_best_did_not_is_given_up():
    assert chance_of_rate([0.9, None], [0.8, 0.8], SEEDS, 0.1, 0) == 0.0
    assert chance_of_rate([0.7], [0.8], SEEDS, None, 0) == FIRST
    assert chance_of_rate([0.8, 0.8], [0.9, 0.9], 2, 0.1, 0) == 0.0  # nothing is to come
    assert chance_of_rate([0.9, 0.9], [0.9, 0.9], 2, 0.1, 0) == 0.5


def test_the_noise_is_pooled_over_pairs_of_rates():
    rng = np.random.default_rng(1)
    arms = [
        {rate: list(place + rng.normal(0, 0.02, 6)) for rate in (1e-3, 1e-2, 1e-1)}
        for place in np.linspace(0.2, 0.9, 40)
    ]
    assert noise_of_rates(arms) == pytest.approx(0.02 * np.sqrt(2), rel=0.1)
    assert noise_of_rates([{1e-3: [0.5]}, {1e-3: [0.5, 0.6]}]) is None


def test_a_verdict_is_open_as_often_as_later_seeds_change_it():
    rng = np.random.default_rng(2)
    bound, margin, error = 2.6, 0.0, 0.010

    def simulated(difference):
        spread = error * np.sqrt((SEEDS - KNOWN) / SEEDS)
        final = difference + spread * rng.standard_normal(100_000)
        half = bound * error * np.sqrt(KNOWN / SEEDS)
        shares = [np.mean(final > half), np.mean(final < -half), np.mean(np.abs(final) <= half)]
        return 1 - max(shares)

    for difference in (0.0, 0.01, 0.02, -0.03):
        one = ArmComparison(arm='a', difference=difference, standard_error=error, seeds=KNOWN)
        found = open_chance(one, KNOWN, SEEDS, bound, margin)
        assert found == pytest.approx(max(simulated(difference), LEAST_OPEN), abs=0.01)


def test_early_looks_together_leave_most_of_alpha_to_the_last():
    used, looks, before = 0.0, 0, 0
    for seeds in range(2, 400):
        level = early(0.05, used)
        if level and is_due(seeds, before):
            used, looks, before = used + level, looks + 1, seeds
    assert looks > EVERY and EARLY * 0.05 <= used <= MOST_EARLY * 0.05 + 1e-12
    assert early(0.05, used) in (0.0, EARLY * 0.05)
