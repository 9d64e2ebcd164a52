"""What the intervals of an ablation cover, read off what its rows were tested on."""

from __future__ import annotations

from ftjax.ablation.statistics.row_types import Rows

FIXED = (
    'Intervals cover the choice of the seed on a fixed test set; they do not cover the choice of '
    'test examples, of the pretrained network or of the data set.'
)
BY_SEED = (
    'Each seed draws its own test split: intervals cover the choice of the seed and of that '
    'split together, as far as the splits, which may share examples, differ; they do not cover '
    'the choice of the pretrained network or of the data set.'
)
UNKNOWN = (
    'Intervals cover the choice of the seed, and of whatever the seed draws; the rows do not '
    'tell whether all seeds had the same test examples. They do not cover the choice of the '
    'pretrained network or of the data set.'
)
FOLDS = (
    'Intervals cover the choice of the fold and the seed; they do not cover the choice of the '
    'pretrained network or of the data set.'
)


def covered(rows: Rows, folds: int = 0) -> list[str]:
    """Sentences on what intervals cover: one, or one for each kind of task; none without any.

    Args:
      rows: finished rows, of one task or several (`task`).
      folds: of cross-validation, 0 for none.
    """
    if folds:
        return [FOLDS]
    tasks = dict.fromkeys(row.get('task', 'all') for row in rows)
    said: dict[str, list[str]] = {}
    for task in tasks:
        sentence = _sentence([row for row in rows if row.get('task', 'all') == task])
        if sentence is None:
            continue
        said.setdefault(sentence, []).append(task)
    if len(said) == 1:
        return list(said)
    return [f'{", ".join(names)}: {sentence}' for sentence, names in said.items()]


def same_test_split(rows: Rows) -> bool | None:
    """Whether all seeds of an arm were tested on the same examples, by their fingerprints.

    None where rows of one task do not tell.
    """
    tested = [row for row in rows if row.get('status') == 'ok']
    # The same data throughout, whatever the seed, is the same test split as well.
    for key in ('test_fingerprint', 'data_fingerprint'):
        by_arm: dict[str, set[object]] = {}
        for row in tested:
            by_arm.setdefault(row['arm'], set()).add(row.get(key))
        if any(None in found for found in by_arm.values()):
            continue
        if all(len(found) == 1 for found in by_arm.values()):
            return True
        if key == 'test_fingerprint':
            return False
    return None


def _sentence(rows: Rows) -> str | None:
    if len({row['seed'] for row in rows if row.get('status') == 'ok'}) < 2:
        return None  # no intervals
    return {True: FIXED, False: BY_SEED, None: UNKNOWN}[same_test_split(rows)]
