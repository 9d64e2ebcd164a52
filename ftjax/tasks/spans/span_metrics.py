"""Metrics of spans and words, of counts and of what was answered for every word."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ftjax.evaluation.intervals import bootstrap_interval, score_of_sums_interval, units
from ftjax.evaluation.predictions import check_class_names
from ftjax.evaluation.spans import Scheme, scheme_of, tag_rows
from ftjax.tasks.classes.class_table import class_rows
from ftjax.tasks.statistics import Statistics

SPAN_METRICS = ('span_precision', 'span_recall', 'span_f1', 'span_f1_macro')
_BELOW = {'span_precision': [1], 'span_recall': [2]}
"""Of found, answered and true spans those that a metric is a share of; of others the last two."""


def span_metrics(counts: np.ndarray) -> dict[str, float | None]:
    """Precision, recall and F1 over all spans, and their means over types with support.

    Args:
      counts: (types, 3), spans that are found, answered and true.

    A ratio of 0 to 0 counts as 0; None where there is no true span. Equal to seqeval 1.2.2 with
    mode='strict', scheme=IOB2, zero_division=0, but that its macro mean is also over types that are
    answered and never true.

    >>> span_metrics(np.array([[1, 2, 1], [0, 0, 1]]))['span_f1_macro']
    0.3333333333333333
    """
    counts = np.asarray(counts, np.float64)
    if not counts.size or not counts[:, 2].sum():
        return dict.fromkeys(SPAN_METRICS)
    each = f1_of(counts)
    found, answered, true = counts.sum(axis=0)
    return {
        'span_precision': float(found / answered) if answered else 0.0,
        'span_recall': float(found / true),
        'span_f1': float(2 * found / (answered + true)),
        'span_f1_macro': float(each[counts[:, 2] > 0].mean()),
    }


def f1_of(counts: np.ndarray) -> np.ndarray:
    """F1 of each row of (.., 3) found, answered and true; 0 of nothing."""
    return 2 * counts[..., 0] / np.maximum(counts[..., 1] + counts[..., 2], 1)


def names_of_tags(found: Statistics, class_names: Sequence[str]) -> tuple[str, ...]:
    """The names, or the indices as names."""
    highest = max(int(found.rows[name].max(initial=0)) for name in ('true', 'answered'))
    return check_class_names(class_names, len(class_names) or max(found.outputs, highest + 1))


def tag_metrics(
    found: Statistics, class_names: Sequence[str], wanted: Collection[str] | None
) -> dict[str, object]:
    """Numbers over all spans and all words, with intervals over texts: see `values` of the task."""
    true, answered = found.rows['true'], found.rows['answered']
    words = np.stack([(true == answered) & (true >= 0), true >= 0]).sum(axis=-1)
    of_words = np.stack([*words, found.rows['nats']], axis=1)
    result: dict[str, object] = {'word_accuracy': _accuracy(of_words), 'loss': _loss(of_words)}
    if wanted is not None and not set(wanted) & {*SPAN_METRICS}:
        return result
    scheme = scheme_of(names_of_tags(found, class_names))
    tags = tag_rows(true), tag_rows(answered)
    counts = scheme.counts(*tags)
    result = {**span_metrics(counts.sum(axis=0)), **result}
    if wanted is not None:
        return result
    group = found.rows.get('group')
    sums = units(counts.reshape(len(counts), -1).astype(np.float64), group)
    of_words = units(of_words, group)
    intervals = {
        name: score_of_sums_interval(
            sums,
            lambda rows, name=name: _of_spans(rows, name),
            sums.reshape(len(sums), -1, 3)[..., _BELOW.get(name, [1, 2])].sum(axis=(1, 2)) > 0,
        )
        for name in SPAN_METRICS
        if result[name] is not None
    }
    intervals['word_accuracy'] = score_of_sums_interval(of_words, _accuracy)
    intervals['loss'] = bootstrap_interval(of_words, _loss, within=(0.0, None))
    return {
        'words': int(words[1].sum()),
        **result,
        **{f'{name}_interval': interval for name, interval in intervals.items()},
        'per_class': _per_type(scheme, counts.sum(axis=0)),
        'confusions': _confused(scheme, *tags),
    }


def _of_spans(rows: np.ndarray, name: str) -> float:
    value = span_metrics(rows.sum(axis=0).reshape(-1, 3))[name]
    return 0.0 if value is None else value


def _accuracy(rows: np.ndarray) -> float:
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def _loss(rows: np.ndarray) -> float:
    return float(rows[:, 2].sum() / rows[:, 1].sum())


def _per_type(scheme: Scheme, counts: np.ndarray) -> list[dict[str, object]]:
    found, answered, true = counts.T
    columns = {
        'precision': found / np.maximum(answered, 1),
        'recall': found / np.maximum(true, 1),
        'f1': f1_of(counts),
    }
    return class_rows(scheme.types, columns, true)


def _confused(
    scheme: Scheme, true: Sequence[np.ndarray], answered: Sequence[np.ndarray]
) -> list[dict[str, object]]:
    """Spans with both ends right and another type, the most frequent first."""
    counts = np.zeros((len(scheme.types),) * 2, int)
    for pair in zip(true, answered, strict=True):
        wanted, given = ({span[1:]: span[0] for span in scheme.spans(tags)} for tags in pair)
        for ends, kind in wanted.items():
            counts[kind, given.get(ends, kind)] += ends in given
    support = scheme.counts(true, true)[:, :, 2].sum(axis=0)
    np.fill_diagonal(counts, 0)
    pairs = sorted(zip(*np.nonzero(counts), strict=True), key=lambda at: -counts[at])
    return [
        {
            'label': scheme.types[one],
            'predicted': scheme.types[other],
            'count': int(counts[one, other]),
            'share': float(counts[one, other] / support[one]),
        }
        for one, other in pairs
    ]
