"""Trials of rates and of what is tuned beside them, as Optuna's samplers draw them.

Akiba et al. (2019), Optuna; TPE: Bergstra et al. (2011); successive halving: Jamieson and
Talwalkar (2016). A study is made anew from its seed and told the same results in the same order
at every call, so that what comes next follows from the finished runs alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftjax.errors import UserError

SEARCHES = ('grid', 'random', 'tpe', 'halving')
SHARES = (0.25, 0.5, 1.0)
"""Of the full length, the runs of each rung of `halving`; each keeps half of the trials."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One point that is tried.

    Attributes:
      rate: learning rate.
      values: one for each key that is tuned beside it.
      share: of the full length of a run.
    """

    rate: float
    values: tuple[Any, ...] = ()
    share: float = 1.0


Score = Callable[[Trial], float | None]
"""Validation metric of a trial, higher is better; nan where a run of it did not finish; None
where it has yet to be run."""


def next_of(
    search: str,
    score: Score,
    *,
    rates: Sequence[float],
    tune: Mapping[str, Sequence[object]],
    trials: int,
) -> tuple[list[Trial], list[Trial]]:
    """Trials that an arm has had, and those that it needs now; none of these when it is done.

    All arms have the same seed, so that arms of one range are tried at the same first points.

    Args:
      search: one of SEARCHES but 'grid'.
      score: of a trial.
      rates: the lowest and the highest bound the range, drawn from evenly in the logarithm.
      tune: key to the values to choose from.
      trials: how many points are drawn; 'halving' runs them short, and fewer of them longer.
    """
    startup = max(2, trials // 3) if search == 'tpe' else trials
    study = Study(search, rates, tune, startup)
    done: list[Trial] = []
    while len(done) < trials:
        batch = [study.ask() for _ in range(startup if not done else 1)]
        if search == 'halving':
            return halved(batch, score)
        scores = [score(trial) for trial in batch]
        if None in scores:
            return parted(done, batch, scores)
        for known in scores:
            study.tell(known)
        done += batch
    return done, []


def halved(drawn: Sequence[Trial], score: Score) -> tuple[list[Trial], list[Trial]]:
    """Rungs of successive halving: all at a share of the length, the best half at the next.

    Returns those that have a score and those that need one, as `next_of`.
    """
    done: list[Trial] = []
    alive = list(drawn)
    for share in SHARES:
        rung = [dataclasses.replace(trial, share=share) for trial in alive]
        scores = [score(trial) for trial in rung]
        if None in scores:
            return parted(done, rung, scores)
        done += rung
        ranked = sorted(
            range(len(rung)), key=lambda i: (math.isnan(scores[i] or 0.0), -(scores[i] or 0.0), i)
        )
        alive = [rung[i] for i in sorted(ranked[: math.ceil(len(rung) / 2)])]
    return done, []


def parted(
    done: Sequence[Trial], batch: Sequence[Trial], scores: Sequence[float | None]
) -> tuple[list[Trial], list[Trial]]:
    """What is done, those of a batch that have a score among it, and those that have none."""
    pairs = [*zip(batch, scores, strict=True)]
    return (
        [*done, *(trial for trial, score in pairs if score is not None)],
        [trial for trial, score in pairs if score is None],
    )


class Study:
    """An Optuna study with a seed, by its ask-and-tell interface."""

    def __init__(
        self,
        search: str,
        rates: Sequence[float],
        tune: Mapping[str, Sequence[object]],
        startup: int,
    ):
        """`startup` trials are drawn at random before TPE has something to go by.

        Raises:
          UserError: Optuna is not installed.
        """
        try:
            import optuna
        except ImportError:
            raise UserError(
                f"config.ablation.search {search!r} needs Optuna: pip install 'ftjax[search]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kinds = optuna.distributions
        self.tune = tune
        # Numbers of values, because Optuna's choices are texts and numbers only.
        self.space: dict[str, optuna.distributions.BaseDistribution] = {
            key: kinds.IntDistribution(0, len(values) - 1)
            if ordered(values)
            else kinds.CategoricalDistribution(list(range(len(values))))
            for key, values in tune.items()
        }
        self.space['rate'] = kinds.FloatDistribution(min(rates), max(rates), log=True)
        sampler: optuna.samplers.BaseSampler = (
            optuna.samplers.TPESampler(seed=0, n_startup_trials=startup)
            if search == 'tpe'
            else optuna.samplers.RandomSampler(seed=0)
        )
        self.study = optuna.create_study(direction='maximize', sampler=sampler)
        self.failed = optuna.trial.TrialState.PRUNED
        self.open: list[optuna.Trial] = []

    def ask(self) -> Trial:
        """One more trial."""
        asked = self.study.ask(self.space)
        self.open.append(asked)
        values = tuple(given[asked.params[key]] for key, given in self.tune.items())
        return Trial(float(f'{asked.params["rate"]:.6g}'), values)

    def tell(self, score: float | None) -> None:
        """The score of the first trial that has none; nan for one that did not finish.

        Those count as worse than any other, and are not left out, as failed ones would be.
        """
        asked = self.open.pop(0)
        if score is None or math.isnan(score):
            self.study.tell(asked, state=self.failed)
        else:
            self.study.tell(asked, score)


def ordered(values: Sequence[Any]) -> bool:
    """Whether values are numbers that rise.

    >>> ordered((0.0, 0.1)), ordered(('sgd', 'adamw')), ordered((True, False))
    (True, False, False)
    """
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return len(numbers) == len(values) and list(values) == sorted(values)
