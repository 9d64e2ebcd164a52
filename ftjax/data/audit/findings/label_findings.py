"""Labels that a head on frozen features, which has not seen the example, takes for errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ftjax.data.audit.examples import Examples
from ftjax.data.audit.finding import Finding, Row, counted
from ftjax.data.audit.measures.label_errors import (
    confident_learning,
    held_out_probabilities,
    in_classes_of_several,
)

SURE = 0.95
"""Probability from which on a training example is to be relabelled, and not only reviewed, where
the head is to be believed."""

RIGHT = 0.8
"""Share of held-out examples that a head must answer as labelled to be believed."""


def label_findings(examples: Examples, features: np.ndarray) -> Iterator[Finding]:
    """Likely label errors, the worst first; nothing where examples have no single class."""
    if not examples.splits.label_kind.one_class:
        return
    labels = np.asarray(examples.labels, np.int64)
    groups = None
    if len(examples.splits.train.groups):
        groups = np.concatenate([part.groups for _, part, _ in examples.blocks()]).astype(str)
    names = examples.splits.class_names
    judged = np.flatnonzero(in_classes_of_several(labels, groups))
    alone = np.setdiff1d(labels, labels[judged])
    if len(alone):
        yield _not_looked_at(
            [names[label] for label in alone], 'group' if groups is not None else 'example'
        )
    labels, features = labels[judged], features[judged]
    groups = None if groups is None else groups[judged]
    probabilities = held_out_probabilities(features, labels, groups) if len(labels) else None
    if probabilities is None:
        return
    found = confident_learning(labels, probabilities)
    if not len(found.flagged):
        return
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())

    def row(at: int) -> Row:
        to, position = int(found.suggested[at]), int(judged[at])
        p = float(probabilities[at, to])
        sure = accuracy >= RIGHT and p >= SURE and examples.split[position] == 0
        own = float(probabilities[at, labels[at]])
        detail = f'{names[to]} {p:.2f}, {names[labels[at]]} {own:.2f}'
        return Row(position, 'relabel' if sure else 'review', label=names[to], detail=detail)

    share = f'{len(found.flagged) / len(labels):.1%}'
    if accuracy >= RIGHT:
        told = (
            f'{counted(len(found.flagged), "label is", "labels are")} likely wrong ({share}; '
            f'confident learning on a head that is right on {accuracy:.1%} of held-out examples)'
        )
    else:
        told = (
            f'how many labels are wrong cannot be told: a head on these features is right on '
            f'{accuracy:.1%} of held-out examples only. It doubts '
            f'{counted(len(found.flagged), "label", "labels")} ({share}): look at the first'
        )
    yield Finding(
        'label errors',
        'warning' if accuracy >= RIGHT else 'note',
        told,
        tuple(row(int(at)) for at in found.flagged),
        measured=len(found.flagged) / len(labels),
    )


def _not_looked_at(names: Sequence[str], unit: str) -> Finding:
    told = ', '.join(map(repr, names[:5])) + (', ..' if len(names) > 5 else '')
    return Finding(
        'labels not looked at',
        'note',
        f'labels are not looked at in {counted(len(names), "class", "classes")} of a single '
        f'{unit}, which no head can learn and be asked for: {told}',
    )
