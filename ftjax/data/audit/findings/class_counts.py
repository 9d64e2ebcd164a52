"""Classes that a split lacks, that one example stands for, and how uneven they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ftjax.data.audit.examples import NAMES, SHOWN, Examples
from ftjax.data.audit.finding import Finding

UNEVEN = 10
"""Examples of the largest class for one of the smallest, from which on that is said."""


def class_findings(examples: Examples) -> Iterator[Finding]:
    """Splits that are missing or lack a class; classes of one example; uneven classes."""
    splits = examples.splits
    names = splits.class_names
    for name, part in zip(NAMES, examples.parts, strict=True):
        shown = SHOWN[name]
        if not len(part):
            yield Finding('empty split', 'note', f'there is no {shown} split')
            continue
        counts = part.label_kind.counts(part.labels, part.num_classes)
        if counts is None:
            continue
        missing = [n for n, count in zip(names, counts, strict=True) if not count]
        if missing:
            yield Finding(
                'class missing', 'warning', f'the {shown} split has no example of {_few(missing)}'
            )
    train = splits.train
    counts = train.label_kind.counts(train.labels, train.num_classes) if len(train) else None
    if not counts or not train.label_kind.one_class:
        return
    single = [name for name, count in zip(names, counts, strict=True) if count == 1]
    if single:
        yield Finding(
            'single example', 'warning', f'training has a single example of {_few(single)}'
        )
    largest, smallest = max(counts), min(counts)
    if smallest and largest >= UNEVEN * smallest:
        most, least = names[counts.index(largest)], names[counts.index(smallest)]
        yield Finding(
            'uneven classes',
            'note',
            f'{most!r} has {largest:,} training examples and {least!r} {smallest:,}: accuracy says '
            f'little, always {most!r} would be right for {largest / sum(counts):.0%} of them; '
            'see balanced_accuracy in the result',
            measured=largest / smallest,
        )


def _few(names: Sequence[str]) -> str:
    more = f' and {len(names) - 3:,} more classes' if len(names) > 3 else ''
    return ', '.join(repr(name) for name in names[:3]) + more
