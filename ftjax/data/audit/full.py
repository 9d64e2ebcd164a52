"""The whole audit of a data set: all checks, without a limit on what they cost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np

from ftjax.data.audit.examples import NAMES, Examples
from ftjax.data.audit.finding import Finding, Row, counted, worst_first
from ftjax.data.audit.findings.class_counts import class_findings
from ftjax.data.audit.findings.copy_findings import copy_findings
from ftjax.data.audit.findings.groups import group_findings
from ftjax.data.audit.findings.image_findings import image_findings
from ftjax.data.audit.findings.label_findings import label_findings
from ftjax.data.audit.findings.shift_findings import shift_findings
from ftjax.data.audit.findings.text_findings import text_findings
from ftjax.data.audit.measures.confirmed import alike, confirmable
from ftjax.data.audit.measures.duplicates import Duplicates, find_duplicates
from ftjax.data.audit.measures.image_looks import ImageLook, image_looks
from ftjax.data.audit.measures.near_features import feature_pairs
from ftjax.data.audit.quick import Audit
from ftjax.data.dataset import Splits


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """Splits without the image files that cannot be read, and those."""

    splits: Splits
    looks: list[ImageLook] | None
    """One of each image that can be read; None for texts."""
    broken: tuple[tuple[str, str, str], ...] = ()
    """(split, id, why) of each that cannot."""


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What a network makes of the examples, for the checks that need it."""

    features: np.ndarray | None = None
    """(n, d) frozen features in the order of `Examples`; None without a network."""
    side: int = 0
    """Pixels of the shorter side of what it sees; 0 for texts."""
    lost: np.ndarray | None = None
    """bool (n,), whether each example lost tokens at `longest`; None where there are none."""
    longest: int = 0
    source: str = ''
    """Where the features come from, for people."""


def open_files(splits: Splits) -> Opened:
    """Looks at every image, and leaves out those that cannot be read."""
    parts, looks, broken = {}, [], []
    for name in NAMES:
        part = getattr(splits, name)
        found = image_looks(part) if len(part) else []
        if found is None:
            return Opened(splits, None)
        good = np.array([i for i, look in enumerate(found) if not look.broken], np.int64)
        broken += [
            (name, str(part.ids[i]), look.broken) for i, look in enumerate(found) if look.broken
        ]
        looks += [found[i] for i in good]
        parts[name] = part if len(good) == len(part) else part.take(good)
    return Opened(dataclasses.replace(splits, **parts), looks, tuple(broken))


def full_audit(
    opened: Opened, seen: Seen = Seen(), report: Callable[[str], None] = lambda stage: None
) -> Audit:
    """All findings on splits, the gravest first.

    Args:
      opened: the splits, and how their images look.
      seen: features and cut texts; without them near copies go by pixels and shingles alone, and
        labels and shifts are not looked at.
      report: told which check begins.

    Raises:
      UserError: for a file that cannot be read.
    """
    started = time.perf_counter()
    splits, examples = opened.splits, Examples(opened.splits)

    def checks() -> Iterator[Finding]:
        nonlocal duplicates
        report('copies')
        duplicates = find_duplicates(examples, whole=True)
        if seen.features is not None:
            report('near copies in features')
            duplicates = with_features(examples, duplicates, seen.features)
        yield from class_findings(examples)
        yield from copy_findings(examples, duplicates)
        yield from near_within(examples, duplicates)
        yield from group_findings(splits)
        if opened.looks is not None:
            report('images')
            yield from image_findings(examples, opened.looks, seen.side)
        if splits.train.kind == 'text':
            report('texts')
            yield from text_findings(examples, seen.lost, seen.longest)
        if seen.features is not None:
            report('labels')
            yield from label_findings(examples, seen.features)
            report('shift between splits')
            yield from shift_findings(examples, seen.features)

    duplicates = Duplicates([], np.zeros((0, 2), np.int64), False, False)
    findings = worst_first(checks())
    return Audit(examples, duplicates, findings, time.perf_counter() - started)


def with_features(examples: Examples, found: Duplicates, features: np.ndarray) -> Duplicates:
    """With the pairs whose features point the same way among the near copies.

    Features propose and contents confirm: a network that knows little of such inputs finds some
    alike that share nothing, an ant on white and a bee in the dark. Where contents can confirm
    nothing, near copies stay not looked for.
    """
    if not confirmable(examples):
        return found
    pairs, _ = feature_pairs(features)
    pairs = pairs[alike(examples, pairs)]
    group = np.arange(len(features))
    for same in found.same:
        group[same] = same[0]
    pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
    near = np.unique(np.concatenate([found.near, pairs]), axis=0)
    return dataclasses.replace(found, near=near, looked_near=True, why_not='')


def near_within(examples: Examples, found: Duplicates) -> Iterator[Finding]:
    """Near copies within a split, and between the held-out splits."""
    left, right = (examples.split[found.near[:, side]] for side in (0, 1))
    pairs = found.near[(left == right) | (left > 0)]
    if len(pairs):
        yield Finding(
            'near copies elsewhere',
            'note',
            f'{counted(len(pairs), "pair")} of near copies within a split, or in validation and '
            'test: intervals are narrower than they should be',
            tuple(Row(int(b), 'review', partner=int(a), detail='near copy') for a, b in pairs),
        )


def broken_finding(broken: tuple[tuple[str, str, str], ...]) -> Finding | None:
    """That files cannot be read; they are no examples, so it has no rows."""
    if not broken:
        return None
    return Finding(
        'broken files',
        'error',
        f'{counted(len(broken), "image file")} cannot be read, the first: {broken[0][2]}',
    )
