"""How much of alpha each look may spend.

Looks are few (seeds come in whole runs, 3 to 10 of them), so a group-sequential boundary fits;
an anytime-valid bound would pay for infinitely many looks and is two to three times as wide at so
few seeds. A spending function f gives what all looks up to a share t of the seeds may spend (Lan
and DeMets 1983), here f(t) = alpha max(t^3, 0.02) (Kim and DeMets 1987, near O'Brien and Fleming's
boundary; never below what an interval can be read off from draws): little early, when only a large
difference can be real, and most at the end, so that the last look judges almost as the full grid
does. It may be asked at any t, so looks need not be planned.

What f grows by is the level of that look's simultaneous intervals, a union bound over looks: the
joint law of the looks would give slightly more, but is known for normal scores of known variance
only, and the bound holds for the procedure as it is, moderated variances and missing runs included.
"""

from __future__ import annotations

POWER = 3.0
LEAST = 0.02
"""Of alpha, the first look."""


def spent(share: float, alpha: float) -> float:
    """What looks up to a share of the seeds may spend together.

    Args:
      share: seeds seen of the most that there may be, 0 to 1.
      alpha: of all looks.

    >>> round(spent(0.5, 0.05), 5), spent(1.0, 0.05)
    (0.00625, 0.05)
    """
    return alpha * max(LEAST, min(1.0, share) ** POWER)
