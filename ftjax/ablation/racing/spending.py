"""How much of alpha each look may spend.

Looks are few (seeds come in whole runs, 3 to 10 of them), so a group-sequential boundary fits; an
anytime-valid bound would pay for infinitely many looks and is two to three times as wide at so few
seeds. Every look before the last spends a fiftieth of alpha, the last one all that is left
(Haybittle 1971, Peto 1976). An early look then stops an arm only where the difference is large,
and the last one judges almost as the full grid does; looks need not be planned, and there may be
one after each seed. All early looks together spend two fifths of alpha at most; after that the
race goes on to its last look.

What a look spends is the level of its simultaneous intervals, a union bound over looks: the joint
law of the looks would give slightly more, but is known for normal scores of known variance only,
and the bound holds for the procedure as it is, moderated variances and missing runs included.
"""

from __future__ import annotations

EARLY = 0.02
"""Of alpha, every look before the last."""
MOST_EARLY = 0.4
"""Of alpha, all of them together."""
EVERY = 10
"""Up to so many seeds there is a look after each of them."""
GROWTH = 1.25
"""Seeds of a look over those of the one before, after that."""


def early(alpha: float, used: float) -> float:
    """What a look before the last may spend; 0 for no look.

    Args:
      alpha: of all looks.
      used: by looks before.

    >>> early(0.05, 0.0), early(0.05, 0.0199)
    (0.001, 0.0)
    """
    one = EARLY * alpha
    return one if used + one <= MOST_EARLY * alpha * (1 + 1e-9) else 0.0


def is_due(seeds: int, before: int) -> bool:
    """Whether so many seeds are worth a look, where the one before was at `before` (0: none).

    >>> [seeds for seeds in range(2, 17) if is_due(seeds, seeds - 1)][-1], is_due(15, 12)
    (10, True)
    """
    return seeds <= EVERY or seeds >= GROWTH * before
