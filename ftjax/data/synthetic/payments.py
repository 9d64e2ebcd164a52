"""Drawn card payments of which one in a hundred is fraud: numbers, categories and gaps.

Frauds differ from other payments in how amount, hour, distance and the number of recent payments
go together, not in any of them alone; one in five looks like any other payment.
"""

from __future__ import annotations

import numpy as np

from ftjax.data.tables.table_inputs import Table

NUMBERS = ('amount', 'hour', 'distance_km', 'payments_last_day', 'account_age_days', 'balance')
WORDS = ('merchant', 'country')
MERCHANTS = ('food', 'fuel', 'travel', 'games', 'jewels', 'online')
COUNTRIES = ('home', 'near', 'far')
SHARE = 0.01
GAPS = 0.03
"""Share of balances that are missing."""


def payments(count: int, seed: int) -> tuple[Table, np.ndarray]:
    """(payments, whether each is fraud as int32); the same for the same arguments.

    >>> table, fraud = payments(2000, 0)
    >>> table.numbers.shape, table.words.shape, int(fraud.sum())
    ((2000, 6), (2000, 2), 20)
    """
    rng = np.random.default_rng((seed, count))
    fraud = np.zeros(count, np.int32)
    fraud[rng.choice(count, round(SHARE * count), replace=False)] = 1
    typical = (fraud == 1) & (rng.random(count) < 0.8)
    merchant = rng.choice(len(MERCHANTS), count, p=[0.35, 0.2, 0.1, 0.1, 0.05, 0.2])
    merchant = np.where(typical, rng.choice([3, 4, 5], count), merchant)
    country = rng.choice(3, count, p=[0.85, 0.1, 0.05])
    country = np.where(typical & (rng.random(count) < 0.6), 2, country)
    scale = np.array([3.0, 3.8, 5.2, 3.2, 5.6, 3.6])[merchant]
    amount = np.exp(rng.normal(scale + 0.9 * typical, 0.8))
    hour = np.where(typical, rng.normal(3, 3, count), rng.normal(15, 4.5, count)) % 24
    distance = np.exp(rng.normal(1.0 + 2.2 * country, 1.0))
    recent = rng.poisson(np.where(typical, 6.0, 2.0))
    age = np.exp(rng.normal(6.5, 1.0, count))
    balance = np.exp(rng.normal(7.0, 1.2, count)) - 200
    balance[rng.random(count) < GAPS] = np.nan
    numbers = np.stack([amount, hour, distance, recent, age, balance], axis=1)
    named = (np.array(MERCHANTS, object)[merchant], np.array(COUNTRIES, object)[country])
    return Table(np.round(numbers, 2), np.stack(named, axis=1), NUMBERS, WORDS), fraud
