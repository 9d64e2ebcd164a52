"""The model in which all differences to a reference are compared: errors of all, drawn together."""

from __future__ import annotations

import numpy as np

from ftjax.ablation.statistics.student import df_of_ratio, normal_of_t, t_of_normal
from ftjax.ablation.statistics.two_way import rough_variances, two_way
from ftjax.ablation.statistics.variance_prior import VariancePrior, fit_prior, moderated

OUTSIDE_DF = 2.0
"""What the prior weighs, in degrees of freedom, for an arm that is kept out of it and varies less;
one that varies more keeps its own variance: nothing says that it is as steady as the others."""
FAR_OFF = 0.01
"""An arm is kept out of the prior if the others give its variance a smaller chance than this,
divided by the number of arms."""
LEVELS = 1.96, 2.81
"""At these, as a normal variable, a difference's t distribution is fitted: 5 % and .5 %."""
MOST_SEEDS = 1000
"""No more further seeds than this are suggested."""


class DifferenceModel:
    """Of a table of scores (arms, seeds) whose first arm is the reference.

    Attributes:
      seeds: how many.
      known: whether scores vary at all; without that there are differences and nothing else.
      outside: the arms kept out of the prior (arms,).
      differences: arm minus reference (arms - 1,), as are the next two.
      standard_errors: of these, from moderated variances.
      df: degrees of freedom of these.
    """

    def __init__(
        self,
        table: np.ndarray,
        outside: np.ndarray,
        *,
        spreads: tuple[float, ...],
        draws: int,
        overlap: float = 0.0,
    ):
        """Fits the model.

        Args:
          table: NaN where a run is missing; no arm and no seed is without runs, and seeds join
            every arm to the reference.
          outside: arms to keep out of the prior (arms,).
          spreads, draws, overlap: see `compare_to_reference`.
        """
        # Scores far from 0 that hardly vary would lose digits.
        table = table - np.nanmean(table)
        self.seeds, self._named, self._spreads = table.shape[1], outside, spreads
        self._overlap = overlap
        self._tiny = (1e-12 * max(1.0, float(np.nanmax(np.abs(table))))) ** 2
        self.outside, self._variances = outside, np.zeros(len(table))
        self._take(*rough_variances(table))
        for _ in range(2):
            weights = 1 / np.maximum(self._moderated, self._tiny)
            fit = two_way(table, weights / weights.max())
            self._take(fit.variances, fit.df)
        contrasts = fit.means[1:] - fit.means[0]
        self.differences = np.einsum('bat,at->b', contrasts, np.nan_to_num(table))
        # As errors of differences enter: each score's weight in each.
        self._contrasts = contrasts * np.sqrt(1 + overlap * self.seeds)
        self.standard_errors = self.df = np.full(len(contrasts), np.inf)
        if self.known:
            self.standard_errors, self.df = self._scales((self._contrasts**2).sum(2))
            self._draw(np.isfinite(table), draws)

    def _take(self, variances: np.ndarray, df: np.ndarray) -> None:
        """Moderates the variances of arms, which have these degrees of freedom (arms,)."""
        self._variances, self._df = variances, df
        self.known = bool((df * variances).sum() > self._tiny)
        self._moderated = np.ones(len(df))
        if not self.known:
            return
        self._prior, self.outside = self._fitted_prior()
        weights, moderated, _ = self._moderate()
        # The mean of log variance: a variance known badly must not count by its tail.
        self._moderated = np.exp(weights @ np.log(np.maximum(moderated, self._tiny)))

    def _moderate(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of the prior: probability (points,), moderated variances and df (points, arms)."""
        weights, d0, s0 = self._prior.likely()
        prior = self._weight(d0[:, None], s0[:, None])
        return weights, moderated(self._variances, self._df, prior, s0[:, None]), prior + self._df

    def _weight(self, d0: np.ndarray, s0: np.ndarray) -> np.ndarray:
        """Degrees of freedom of the prior for each arm (.., arms), from its d0 and s0 (.., 1)."""
        outside = np.where(self._variances > s0, 0.0, OUTSIDE_DF)
        return np.where(self.outside, outside, d0)

    def _scales(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors and degrees of freedom of differences, each (differences,).

        They are those of the t distribution that the posterior of a difference, a mixture of such
        over the points of the prior, is exceeded as often as, at two levels.

        Args:
          squares: what the variances of arms are weighted by in each (differences, arms).
        """
        from scipy import special

        weights, variances, df = self._moderate()
        parts = squares * variances[:, None, :]
        scale, df = np.sqrt(parts.sum(2)), parts.sum(2) ** 2 / (parts**2 / df[:, None, :]).sum(2)
        ends = []
        for level in LEVELS:
            each = np.log(scale * t_of_normal(level, df))
            low, high = each.min(0), each.max(0)
            for _ in range(14):
                middle = (low + high) / 2
                tails = special.ndtr(-normal_of_t(np.exp(middle) / scale, df))
                above = weights @ tails > special.ndtr(-level)
                low, high = np.where(above, middle, low), np.where(above, high, middle)
            ends.append(np.exp((low + high) / 2))
        fitted = df_of_ratio(ends[1] / ends[0], *LEVELS)
        return ends[0] / t_of_normal(LEVELS[0], fitted), fitted

    def _fitted_prior(self) -> tuple[VariancePrior, np.ndarray]:
        """The prior of the arms that belong together, and which do not."""
        outside, varies = self._named.copy(), self._variances > self._tiny
        # Two arms have the same residuals: what varies is their difference alone.
        if len(outside) < 3 or not (varies & ~outside).any():
            outside[:] = False
        while True:
            inside = ~outside & (self._df > 0)
            prior = fit_prior(self._variances[inside], self._df[inside], self._spreads)
            largest = int(np.argmax(np.where(inside, self._variances, -1.0)))
            inside[largest] = False
            if inside.sum() < 3 or not (inside & varies).any():
                return prior, outside
            others = fit_prior(self._variances[inside], self._df[inside], self._spreads)
            chance = others.exceeds(self._variances[largest], self._df[largest])
            if chance > FAR_OFF / len(outside):
                return prior, outside
            outside[largest] = True

    def _draw(self, there: np.ndarray, draws: int) -> None:
        """Draws variances of arms, and from them the errors of all differences."""
        rng = np.random.default_rng(7)
        d0, s0 = (values[:, None] for values in self._prior.draws(draws, rng))
        d0 = self._weight(d0, s0)
        gamma = rng.standard_gamma((d0 + self._df) / 2)
        variances = (d0 * s0 + self._df * self._variances) / (2 * gamma)
        squares = (self._contrasts**2).sum(2)
        if there.all():  # the noise of an arm enters by its mean alone
            noise = rng.standard_normal(variances.shape) * np.sqrt(variances)
            errors = noise[:, 1:] * np.sqrt(np.diag(squares[:, 1:]))
            errors -= noise[:, :1] * np.sqrt(squares[:, 0])
        else:
            of_arm = np.nonzero(there)[0]
            noise = rng.standard_normal((draws, len(of_arm))) * np.sqrt(variances)[:, of_arm]
            errors = noise @ self._contrasts[:, there].T
        largest = normal_of_t(np.abs(errors) / self.standard_errors, self.df).max(1)
        self._largest = np.sort(largest)
        self._drawn_variances = variances

    def bound(self, alpha: float) -> float:
        """What the largest |t| of all arms, as a normal variable, exceeds with chance alpha."""
        return float(np.quantile(self._largest, 1 - alpha))

    def halves(self, bound: float) -> np.ndarray:
        """Half the widths of the intervals that hold together for a bound (arms - 1,)."""
        return self.standard_errors * t_of_normal(bound, self.df)

    def above(self, combined: np.ndarray | None = None) -> np.ndarray:
        """The chance that the mean of an arm is above that of the reference (arms - 1,).

        Args:
          combined: see `combination`; the chances that these are above 0.
        """
        from scipy import special

        sums, differences = self._contrasts, self.differences
        if combined is not None:
            sums, differences = np.tensordot(combined, sums, 1), combined @ differences
        errors = np.sqrt(self._drawn_variances @ (sums**2).sum(2).T)
        return special.ndtr(differences / errors).mean(0)

    def combination(self, weights: np.ndarray, bound: float) -> tuple[float, float, float]:
        """A weighted sum of differences: its value, standard error, and half its interval.

        Args:
          weights: of the differences (arms - 1,).
          bound: of the largest |t|, as for the differences themselves.
        """
        value = float(weights @ self.differences)
        if not self.known:
            return value, float('inf'), float('inf')
        squares = (np.tensordot(weights, self._contrasts, 1) ** 2).sum(1)
        (error,), (df,) = self._scales(squares[None])
        return value, float(error), float(error * t_of_normal(bound, df))

    def further_seeds(self, bound: float, margin: float) -> np.ndarray:
        """Seeds to add, all else as it is, until intervals leave out 0 or lie in a margin.

        Returns:
          One number an arm (arms - 1,); more than MOST_SEEDS stand for more than is looked at.
        """
        size = np.abs(self.differences)
        # The variance of a mean is s^2 (1/n + overlap): no number of folds brings it to 0.
        now = 1 / self.seeds + self._overlap

        def decided(more: np.ndarray) -> np.ndarray:
            # A further seed adds as many degrees of freedom as each one did.
            df = self.df * (1 + more / max(self.seeds - 1, 1))
            error = self.standard_errors * np.sqrt((1 / (self.seeds + more) + self._overlap) / now)
            half = error * t_of_normal(bound, df)
            return (size > half) | (size + half <= margin)

        # More seeds never undo a decision: bisection.
        undecided, enough = np.zeros(len(size), int), np.full(len(size), MOST_SEEDS + 1)
        while (enough - undecided > 1).any():
            middle = (undecided + enough) // 2
            found = decided(middle)
            enough = np.where(found, middle, enough)
            undecided = np.where(found, undecided, middle)
        return enough
