"""Evidence against 'nothing has changed' that may be looked at after every window, for ever.

H0: all examples, of the reference and of every window, are exchangeable. The p of a window
compares it with everything before it. Given which examples lie before and which in the window,
the order of the former, on which earlier p depend, is uniform; so the p are independent and
uniform. A calibrator e(p) with integral 1 turns each into a factor of expectation 1, and

    M_t = sum over s of w_s * e(p_s) * .. * e(p_t),    w_s = 1 / (s * (s + 1)),

where the terms of s > t count as w_s alone, is a martingale that begins at 1: a bet that is shared
out over the windows in which the change may begin. Means over several statistics of the same
windows are martingales too. By Ville's inequality the chance that one ever reaches 1 / alpha is
at most alpha, however many windows come and however often one looks.

Sources: V. Vovk, I. Nouretdinov, A. Gammerman (2003), Testing exchangeability on-line, ICML;
D. Volkhonskiy et al. (2017), Inductive conformal martingales for change-point detection, COPA;
V. Vovk and R. Wang (2021), E-values, 10.1214/20-AOS2020; J. Ville (1939), Étude critique de la
notion de collectif.
"""

from __future__ import annotations

import dataclasses
import math

CEILING = 1e100
"""Evidence is not counted beyond it."""


def calibrated(p: float) -> float:
    """Vovk and Wang's mixture of k * p**(k - 1) over k in (0, 1): its integral over p is 1.

    >>> round(calibrated(0.01), 2), round(calibrated(0.5), 2), calibrated(1.0)
    (4.45, 0.64, 0.5)
    """
    if not 0 < p <= 1:
        raise ValueError(f'p is {p}; expected above 0, to 1')
    x = -math.log(p)
    if x < 1e-3:  # the difference below would lose its digits
        return 0.5 + x / 6
    return (math.exp(x) - 1 - x) / x**2


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The martingale of one statistic."""

    steps: int = 0
    """Windows that were tested."""
    running: float = 0.0
    """The terms that have begun."""
    highest: float = 1.0
    """The largest value so far."""

    @property
    def value(self) -> float:
        """The martingale now; terms that have not begun weigh 1 / (steps + 1)."""
        return self.running + 1 / (self.steps + 1)

    def after(self, p: float | None) -> Evidence:
        """With one window more; None for one that could not be compared, which proves nothing."""
        steps = self.steps + 1
        factor = 1.0 if p is None else calibrated(p)
        running = min((self.running + 1 / (steps * (steps + 1))) * factor, CEILING)
        found = Evidence(steps, running, self.highest)
        return dataclasses.replace(found, highest=max(self.highest, found.value))
