"""Which answers change from one bundle to the other on the same inputs, and by how much."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.serving.bundle.answer_rows import answer_rows
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.comparison.fixed_inputs import FixedInput, FixedSet, stacked

SHOWN = 12
"""Examples that are kept."""
_BATCH = 32
_SAME = 1e-4
"""Share of the spread of a number's values, below which it counts as unchanged."""
Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One input whose answer changed."""

    id: str
    raw: Any
    """As `FixedInput` has it."""
    first: Row
    """The whole answer, as `Bundle.predict` gives it."""
    second: Row
    size: float
    """By which examples are ordered: the largest change of a probability, or of a value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChangedAnswers:
    """Of a fixed set of inputs."""

    told: str
    takes: str
    """`images`, `texts` or `table`."""
    n: int
    """Inputs that both answered."""
    failed: int
    """Inputs that one of them could not read, or gave no finite number for."""
    changed: int
    """Inputs with another answer; for numbers, with a value that is off by more than rounding."""
    mean_size: float
    """Mean over all inputs of the largest change of a probability, or of a value."""
    probabilities: bool
    """Whether sizes are of probabilities."""
    moves: tuple[tuple[str, str, int], ...]
    """(first, second, inputs) of the most frequent changes."""
    examples: tuple[Change, ...]
    """The largest changes."""


def changed_answers(
    first: Bundle,
    second: Bundle,
    found: FixedSet,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> ChangedAnswers:
    """Runs both bundles on a fixed set.

    Args:
      first, second: the bundles.
      found: the inputs.
      progress: is told how many inputs of how many are done.
    """
    changes, sizes, failed, moves, probabilities = [], [], 0, {}, False
    values: list[float] = []
    for start in range(0, len(found.inputs), _BATCH):
        part = found.inputs[start : start + _BATCH]
        sides = [_answers(bundle, part, found.arrays) for bundle in (first, second)]
        for given, one, other in zip(part, *sides, strict=True):
            if one is None or other is None:
                failed += 1
                continue
            size = size_of(one, other)
            sizes.append(size)
            probabilities = probabilities or 'probabilities' in one
            if 'probabilities' not in one and isinstance(one['predicted'], float):
                values.append(one['predicted'])
            if one['predicted'] != other['predicted']:
                changes.append(
                    Change(id=given.id, raw=given.raw, first=one, second=other, size=size)
                )
        progress(start + len(part), len(found.inputs))
    if not sizes:
        raise UserError(f'{found.told}: the two bundles have answers in common for none of them')
    least = _SAME * float(np.std(values)) if values else 0.0
    changes = [each for each in changes if each.size > least or probabilities]
    for each in changes:
        if probabilities:
            move = told_of(each.first), told_of(each.second)
            moves[move] = moves.get(move, 0) + 1
    frequent = sorted(moves.items(), key=lambda item: (-item[1], item[0]))[:10]
    changes.sort(key=lambda each: -each.size)
    return ChangedAnswers(
        told=found.told,
        takes=first.signature.takes,
        n=len(sizes),
        failed=failed + found.failed,
        changed=len(changes),
        mean_size=float(np.mean(sizes)),
        probabilities=probabilities,
        moves=tuple((*move, count) for move, count in frequent),
        examples=tuple(changes[:SHOWN]),
    )


def size_of(first: Row, second: Row) -> float:
    """The largest change of a probability, or of a value; infinite where they cannot be compared.

    >>> size_of({'probabilities': {'a': 0.75, 'b': 0.25}}, {'probabilities': {'a': 0.5, 'c': 0.5}})
    0.5
    """
    if 'probabilities' in first and 'probabilities' in second:
        one, other = first['probabilities'], second['probabilities']
        return max(abs(one.get(c, 0.0) - other.get(c, 0.0)) for c in {*one, *other})
    try:
        off = np.abs(np.asarray(first['predicted'], float) - np.asarray(second['predicted'], float))
    except (TypeError, ValueError):
        return math.inf if first['predicted'] != second['predicted'] else 0.0
    return float(off.max(initial=0.0))


def told_of(row: Row) -> str:
    """What was answered, in a few words."""
    found = row['predicted']
    if isinstance(found, list):
        return ', '.join(map(str, found)) or 'nothing'
    return f'{found:.6g}' if isinstance(found, float) else str(found)


def _answers(bundle: Bundle, part: Sequence[FixedInput], arrays: bool) -> list[Row | None]:
    found: list[Row | None] = [None] * len(part)
    examples = {}
    for at, one in enumerate(part):
        try:
            example = one.raw if arrays else bundle.reader.read(one.raw)
            batch = stacked([example]) if arrays else bundle.reader.stacked([example])
            bundle.checked(batch)
        except UserError:
            continue
        examples[at] = example
    if not examples:
        return found
    join = stacked if arrays else bundle.reader.stacked
    outputs = bundle.run(join(list(examples.values())), _BATCH).outputs
    for place, at in enumerate(examples):
        if np.isfinite(outputs[place]).all():
            (found[at],) = answer_rows(outputs[place : place + 1], bundle.signature)
    return found
