"""Which answers change from one bundle to the other on the same inputs, and by how much."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.serving.bundle.answer_forms.answer_form import Told
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.comparison.fixed_inputs import FixedInput, FixedSet

SHOWN = 12
"""Examples that are kept."""
_BATCH = 32
_SAME = 1e-4
"""Share of the spread of a number's values, below which it counts as unchanged."""
_NUMBERS = ('probabilities', 'shares', 'choices', 'scores', 'vector', 'probability')
"""Fields of answers whose numbers are compared: the first that is there."""
Answer = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One input whose answer changed."""

    given: FixedInput
    first: Told
    second: Told
    """Both answers in short."""
    size: float
    """By which examples are ordered; see `size_of`."""


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
    """Mean over all inputs of `size_of`."""
    moves: tuple[tuple[str, str, int], ...]
    """(first, second, inputs) of the most frequent changes from one class to another."""
    examples: tuple[Change, ...]
    """The largest changes."""
    sized: str = 'largest change of a number of the answer'
    """What a size is."""


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

    Raises:
      UserError: there is no input that both answer.
    """
    changes, sizes, failed, pixels = [], [], 0, False
    moves: dict[tuple[str, str], int] = {}
    values: list[float] = []
    for start in range(0, len(found.inputs), _BATCH):
        part = found.inputs[start : start + _BATCH]
        sides = [_answers(bundle, part) for bundle in (first, second)]
        for given, one, other in zip(part, *sides, strict=True):
            if one is None or other is None:
                failed += 1
                continue
            size, pixels = size_of(one, other), 'mask' in one
            sizes.append(size)
            told = first.form.told(one), second.form.told(other)
            if isinstance(one.get('predicted'), float):
                values.append(one['predicted'])
            if _decided(one) != _decided(other):
                changes.append(Change(given=given, first=told[0], second=told[1], size=size))
                if told[0].said != told[1].said and (told[0].classes or told[1].classes):
                    move = told[0].said, told[1].said
                    moves[move] = moves.get(move, 0) + 1
        progress(start + len(part), len(found.inputs))
    if not sizes:
        raise UserError(f'{found.told}: there is none that both bundles answer')
    if values:
        changes = [each for each in changes if each.size > _SAME * float(np.std(values))]
    frequent = sorted(moves.items(), key=lambda item: (-item[1], item[0]))[:10]
    changes.sort(key=lambda each: -each.size)
    return ChangedAnswers(
        told=found.told,
        takes=first.signature.takes,
        n=len(sizes),
        failed=failed + found.failed,
        changed=len(changes),
        mean_size=float(np.mean([size for size in sizes if math.isfinite(size)] or [math.nan])),
        moves=tuple((*move, count) for move, count in frequent),
        examples=tuple(changes[:SHOWN]),
        **({'sized': 'share of the pixels that changed'} if pixels else {}),
    )


def size_of(first: Answer, second: Answer) -> float:
    """The largest change of a number of an answer; infinite where none can be compared.

    Of masks it is the share of the pixels whose class changed.

    >>> size_of({'probabilities': {'a': 0.75, 'b': 0.25}}, {'probabilities': {'a': 0.5, 'c': 0.5}})
    0.5
    """
    if 'mask' in first and 'mask' in second:
        return _changed_pixels(first['mask']['png'], second['mask']['png'])
    one, other = _numbers(first), _numbers(second)
    if not one and not other:
        return math.inf if _decided(first) != _decided(second) else 0.0
    return max(abs(one.get(key, 0.0) - other.get(key, 0.0)) for key in {*one, *other})


def _changed_pixels(first: str, second: str) -> float:
    from PIL import Image

    one, other = (np.asarray(Image.open(io.BytesIO(base64.b64decode(p)))) for p in (first, second))
    return float(np.mean(one != other)) if one.shape == other.shape else 1.0


def _numbers(answer: Answer) -> dict[Any, float]:
    field = next((name for name in _NUMBERS if name in answer), 'predicted')
    found = answer.get(field)
    if isinstance(found, Mapping):
        return dict(found)
    flat = found if isinstance(found, list) else [found]
    return {at: value for at, value in enumerate(flat) if isinstance(value, float)}


def _decided(answer: Answer) -> Any:
    """What is answered, without how sure it is."""
    if 'mask' in answer:
        return answer['mask']['png']
    return next((answer[name] for name in ('predicted', 'text', 'vector') if name in answer), None)


def _answers(bundle: Bundle, part: Sequence[FixedInput]) -> list[Answer | None]:
    found: list[Answer | None] = [None] * len(part)
    read = {}
    for at, one in enumerate(part):
        try:
            rows = bundle.reader.rows(one.raw) if one.rows is None else one.rows
            for row in rows.rows:
                bundle.checked(bundle.reader.stacked([row]))
        except UserError:
            continue
        read[at] = rows
    outputs = bundle.run_each(list(read.values()), _BATCH)
    for (at, rows), (own, _) in zip(read.items(), outputs, strict=True):
        own = bundle.without_padding(own, rows)
        try:
            found[at] = bundle.form.answer(own, rows, bundle.signature)
        except UserError:  # no finite number
            continue
    return found
