"""Two versions of a registry compared: what they were made from, how good, what they answer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from ftjax.errors import UserError
from ftjax.serving.bundle.loaded_bundle import Bundle, load
from ftjax.serving.comparison.changed_answers import ChangedAnswers, changed_answers
from ftjax.serving.comparison.fixed_inputs import golden_inputs, inputs_at
from ftjax.serving.comparison.run_differences import RunDifferences, run_differences
from ftjax.serving.versions.registry import Registry
from ftjax.serving.versions.version_records import Version


@dataclasses.dataclass(frozen=True, kw_only=True)
class VersionDiff:
    """How the second version differs from the first."""

    first: Version
    second: Version
    runs: RunDifferences
    notes: tuple[str, ...]
    """What a reader must know: other classes, another task, another threshold."""
    answers: ChangedAnswers | None
    unanswered: str = ''
    """Why answers were not compared; '' where they were."""


def diff(
    registry: Registry | str | os.PathLike[str],
    first: str,
    second: str,
    *,
    on: str | None = None,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> VersionDiff:
    """Compares two versions.

    Args:
      registry: or its path or URL.
      first, second: `NAME@3`, `NAME@production` and so on.
      on: a folder or file of inputs, without labels; None for the golden inputs of both.
      progress: is told how many inputs of how many were answered.

    Raises:
      UserError: no such version, a damaged one, or inputs that cannot be read.
    """
    registry = registry if isinstance(registry, Registry) else Registry(os.fspath(registry))
    one, other = registry.resolve(first), registry.resolve(second)
    folders = [registry.open(version) for version in (one, other)]
    answers, unanswered, notes = None, '', ()
    try:
        old = load(folders[0], sha256=one.sha256, goldens=False)
        new = load(folders[1], sha256=other.sha256, goldens=False)
        notes = tuple(_notes(old, new))
        if old.signature.takes != new.signature.takes:
            raise UserError('the bundles do not take the same kind of input')
        if old.signature.answer != new.signature.answer:
            raise UserError(
                f'the bundles do not answer alike: {old.signature.answer} and '
                f'{new.signature.answer}'
            )
        found = golden_inputs(old, new) if on is None else inputs_at(on, old)
        answers = changed_answers(old, new, found, progress)
    except UserError as error:
        if on is not None:
            raise
        unanswered = str(error)
    return VersionDiff(
        first=one,
        second=other,
        runs=run_differences(one.run, other.run),
        notes=notes,
        answers=answers,
        unanswered=unanswered,
    )


def _notes(first: Bundle, second: Bundle) -> list[str]:
    one, other = first.signature, second.signature
    notes = []
    if one.task != other.task:
        notes.append(f'the task was {one.task} and is {other.task}')
    if one.class_names != other.class_names:
        gone = [name for name in one.class_names if name not in other.class_names]
        new = [name for name in other.class_names if name not in one.class_names]
        told = [f'gone: {", ".join(gone)}'] * bool(gone) + [f'new: {", ".join(new)}'] * bool(new)
        notes.append(f'the classes differ ({"; ".join(told) or "in their order"})')
    for name in ('temperature', 'threshold', 'lengths', 'preprocessing'):
        before, now = getattr(one, name), getattr(other, name)
        if before != now:
            notes.append(f'{name} was {before} and is {now}')
    return notes
