"""One look at a folder of windows: every new period is tested once, and evidence adds up."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.serving.bundle.reference import Reference
from ftjax.serving.bundle.signature import Signature
from ftjax.serving.monitoring.later_labels import FEWEST, Labelled, fallen, labelled_periods
from ftjax.serving.monitoring.periods import Folder, Period, periods_of, read_folder
from ftjax.serving.monitoring.stream_state import POOL, StreamState, rows_of
from ftjax.serving.monitoring.traffic_rows import Rows
from ftjax.serving.monitoring.two_sample import PERMUTATIONS, compare

LABELS = 0.2
"""Share of alpha that is kept for accuracy; the rest is for what needs no labels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What one look at a folder found."""

    state: StreamState
    reference: Reference
    signature: Signature
    folder: Folder
    tested: tuple[Period, ...]
    """Periods that this look tested."""
    waiting: int
    """Windows that are not over, or too small to be tested alone."""
    late: int
    """Windows that came after their time was tested."""
    accuracy: tuple[Labelled, ...] = ()
    unknown_labels: int = 0
    late_labels: int = 0
    """Labels that came after those of their time were tested."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """What the alarm is of: `traffic`, `accuracy`; () for none."""
        return alarms_of(self.state)


def thresholds(alpha: float) -> dict[str, float]:
    """What evidence has to reach, by kind of alarm: together they err with alpha at most.

    >>> {name: round(value, 9) for name, value in thresholds(0.05).items()}
    {'traffic': 25.0, 'accuracy': 100.0}
    """
    return {'traffic': 1 / (alpha * (1 - LABELS)), 'accuracy': 1 / (alpha * LABELS)}


def alarms_of(state: StreamState) -> tuple[str, ...]:
    """Kinds of alarm that a stream has raised, ever: evidence that was there stays so."""
    limits = thresholds(state.alpha)
    raised = {
        'traffic': state.highest >= limits['traffic'],
        'accuracy': state.label_evidence.highest >= limits['accuracy'],
    }
    return tuple(name for name, is_raised in raised.items() if is_raised)


def look(
    folder: pathlib.Path,
    state: StreamState,
    reference: Reference,
    signature: Signature,
    *,
    now: float,
    labels: Mapping[str, int] | None = None,
    fewest: int = 50,
    permutations: int = PERMUTATIONS,
) -> Look:
    """Tests the new periods of a folder; `state` is brought forward in place.

    Args:
      folder: of windows.
      state: of the stream.
      reference, signature: of the bundle.
      now: seconds since 1970; windows that are not closed then wait.
      labels: classes by id of an answer; None for none.
      fewest: examples of a period; smaller ones are put together.
      permutations: of each test.

    Raises:
      UserError: a folder that cannot be read.
    """
    used = {name for row in state.periods for name in row.get('files', ())}
    # What was tested is needed for its labels alone.
    skip = used if labels is None else ()
    found = read_folder(folder, state.bundle, reference, skip)
    # Before a restart there were answers too, and labels of them may come again.
    unknown = labelled_periods(found.windows, labels or {})[1]
    found.windows = [pair for pair in found.windows if pair[1].start >= state.began]
    periods, waiting, late = periods_of(
        found.windows, state.tested_until, now, fewest, _seed(state.bundle, 0)
    )
    late -= sum(name in used for name, w in found.windows if w.start < state.tested_until)
    for period in periods:
        take_period(state, period, reference.measure_names, permutations)
        beside_reference(state.periods[-1]['statistics'], period.rows, reference)
    # Of a window that is not closed more labels will come, and each time is tested once.
    closed = [pair for pair in found.windows if pair[1].closed <= now]
    accuracy = labelled_periods(closed, labels or {})[0]
    for one in accuracy:
        take_labels(state, one)
    tested = sum(one.count for one in accuracy if one.start in state.labels_used)
    late_labels = max(0, tested - (state.labelled - reference.labelled))
    return Look(
        state=state,
        reference=reference,
        signature=signature,
        folder=found,
        tested=tuple(periods),
        waiting=waiting,
        late=late,
        accuracy=tuple(accuracy),
        unknown_labels=unknown,
        late_labels=late_labels,
    )


def take_period(
    state: StreamState,
    period: Period,
    names: tuple[str, ...],
    permutations: int = PERMUTATIONS,
    pool: int = POOL,
) -> None:
    """Compares a period with all before it, adds to the evidence, and to what is before.

    Args:
      state: brought forward in place.
      period: the next one.
      names: of the measures.
      permutations: of the test.
      pool: examples that the next period is compared with, at most.
    """
    seed = _seed(state.bundle, period.start)
    found = compare(state.pool, period.rows, names, seed, permutations)
    rows: dict[str, Any] = {}
    for name in state.statistics:
        one = found[name]
        state.evidence[name] = state.evidence[name].after(one.p if one else None)
        told = dataclasses.asdict(one) if one else {}
        rows[name] = {**told, 'evidence': state.evidence[name].value}
    total = float(np.mean([state.evidence[name].value for name in state.statistics]))
    state.highest = max(state.highest, total)
    state.pool = added(state.pool, period.rows, seed, pool)
    state.tested_until = max(state.tested_until, period.end)
    told = ('start', 'end', 'seen', 'unusable', 'refused')
    state.periods.append(
        {
            **{name: getattr(period, name) for name in told},
            'files': list(period.files),
            'sample': len(period.rows),
            'statistics': rows,
            'evidence': total,
        }
    )


def beside_reference(rows: dict[str, dict[str, Any]], new: Rows, reference: Reference) -> None:
    """Adds to each statistic what it is beside the reference alone: no test, but it stays large.

    What has changed for good is, after some periods, in what a period is compared with.
    """
    found = compare(rows_of(reference), new, reference.measure_names, 0, 0)
    for name, row in rows.items():
        one = found[name]
        if one is not None:
            row['to_reference'] = one.statistic


def added(pool: Rows, rows: Rows, seed: int, most: int) -> Rows:
    """Both, or a fair sample of both: chosen without looking at them, which keeps p exact."""
    both = Rows.joined([pool, rows])
    if len(both) <= most:
        return both
    chosen = np.random.default_rng([seed, 1]).permutation(len(both))[:most]
    return both.take(np.sort(chosen))


def take_labels(state: StreamState, labelled: Labelled) -> None:
    """Tests the labels of one time against all before, once there are enough of them."""
    if labelled.start in state.labels_used or labelled.count < FEWEST:
        return  # more may come
    random = np.random.default_rng([_seed(state.bundle, labelled.start), 2])
    p = fallen(labelled, state.right, state.labelled, random)
    state.label_evidence = state.label_evidence.after(p)
    state.right += labelled.right
    state.labelled += labelled.count
    state.labels_used.append(labelled.start)


def _seed(bundle: str, start: int) -> int:
    return int.from_bytes(hashlib.sha256(f'{bundle} {start}'.encode()).digest()[:7])
