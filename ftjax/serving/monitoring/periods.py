"""The windows of a folder: those of one bundle that are over, put together by period."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.serving.bundle.reference import Reference
from ftjax.serving.monitoring.sketch import sample_size
from ftjax.serving.monitoring.traffic_rows import Rows
from ftjax.serving.monitoring.window_file import NAME, Window, read_window

MOST_FILES = 20_000
"""Files of windows that are read; a folder with more is refused."""


@dataclasses.dataclass
class Folder:
    """What a folder of windows holds."""

    windows: list[tuple[str, Window]]
    """(file name, window) of the bundle, by time."""
    others: int = 0
    """Windows of other bundles."""
    problems: list[str] = dataclasses.field(default_factory=list)
    """Why files cannot be read, a sentence each."""


@dataclasses.dataclass(frozen=True)
class Period:
    """Windows of one time, or of several that follow each other, as one sample."""

    start: int
    end: int
    seen: int
    unusable: int
    refused: int
    rows: Rows
    files: tuple[str, ...]
    histogram: np.ndarray
    predicted: np.ndarray
    sums: np.ndarray


def read_folder(
    folder: pathlib.Path, digest: str, reference: Reference, skip: Collection[str] = ()
) -> Folder:
    """Reads the windows of a bundle.

    Args:
      folder: of windows.
      digest: of the bundle's manifest.
      reference: of the bundle.
      skip: names of files that need not be read again.

    Raises:
      UserError: no such folder, or one with too many windows.
    """
    try:
        names = sorted(p.name for p in folder.iterdir() if NAME.fullmatch(p.name))
    except OSError as error:
        raise UserError(f'{folder} cannot be read: {error.strerror}') from error
    if len(names) > MOST_FILES:
        raise UserError(f'{folder} holds {len(names):,} windows; expected at most {MOST_FILES:,}')
    found = Folder([])
    for name in names:
        if name in skip:
            continue
        try:
            window = read_window(folder / name)
            if window.bundle != digest:
                found.others += 1
                continue
            check_shapes(folder / name, window, reference)
        except UserError as error:
            found.problems.append(str(error))
            continue
        found.windows.append((name, window))
    found.windows.sort(key=lambda pair: (pair[1].start, pair[0]))
    return found


def check_shapes(path: pathlib.Path, window: Window, reference: Reference) -> None:
    """UserError where a window does not fit the reference of the bundle that it names."""
    same = (
        window.rows.features.shape[1] == reference.features.shape[1]
        and window.predicted.shape == reference.predicted.shape
        and window.measures == reference.measure_names
    )
    if not same:
        raise UserError(f'{path}: not of the widths and names of its bundle; it is damaged')


def periods_of(
    windows: Sequence[tuple[str, Window]], after: int, now: float, fewest: int, seed: int
) -> tuple[list[Period], int, int]:
    """Periods to test, in order; how many windows wait, and how many came too late.

    Args:
      windows: by time.
      after: seconds since 1970 up to which periods were tested.
      now: seconds since 1970; a window that is not closed then waits.
      fewest: examples of a period; one with fewer is put together with the next.
      seed: of the samples.
    """
    groups: dict[int, list[tuple[str, Window]]] = {}
    waiting = late = 0
    for name, window in windows:
        if window.closed > now:
            waiting += 1
        elif window.start < after:
            late += 1
        else:
            groups.setdefault(window.start, []).append((name, window))
    found: list[Period] = []
    together: list[tuple[str, Window]] = []
    for start in sorted(groups):
        together += groups[start]
        if sum(len(window.rows) for _, window in together) >= fewest:
            found.append(joined(together, seed))
            together = []
    return found, waiting + len(together), late


def joined(windows: Sequence[tuple[str, Window]], seed: int) -> Period:
    """Some windows as one; its sample is a fair one of all their examples."""
    parts = [window for _, window in windows]
    counts = np.array([window.requests for window in parts], np.float64)
    have = np.array([len(window.rows) for window in parts])
    width = parts[0].rows.features.shape[1]
    start = min(window.start for window in parts)
    random = np.random.default_rng([seed, start])
    wanted = shares(counts, have, sample_size(width), random)
    rows = [
        window.rows.take(np.sort(random.permutation(len(window.rows))[:count]))
        for window, count in zip(parts, wanted, strict=True)
    ]
    totals: dict[str, Any] = {
        name: sum(getattr(window, name) for window in parts)
        for name in ('seen', 'unusable', 'refused', 'histogram', 'predicted', 'sums')
    }
    files = tuple(name for name, _ in windows)
    return Period(start, max(w.end for w in parts), rows=Rows.joined(rows), files=files, **totals)


def shares(
    counts: np.ndarray, have: np.ndarray, size: int, random: np.random.Generator
) -> list[int]:
    """How many of each sample go into one of a size, as a draw without replacement would."""
    total = counts.sum()
    size = int(min(size, have.sum()))
    if len(counts) == 1 or have.sum() <= size:
        return have.tolist()
    if total < 1e9:  # the limit of numpy's own draw
        drawn = random.multivariate_hypergeometric(
            counts.astype(np.int64), size, method='marginals'
        )
    else:
        drawn = random.multinomial(size, counts / total)
    return np.minimum(drawn, have).tolist()
