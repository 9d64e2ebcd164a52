"""The table of how well arms' scores tell other test sets from their own."""

from __future__ import annotations

from ftjax.ablation.statistics.row_types import Summary

TITLES = {'energy': 'energy', 'mahalanobis': 'Mahalanobis distance'}


def unfamiliar_table(
    task: Summary, summary: Summary
) -> tuple[str, list[str], list[list[str]]] | None:
    """AUROC of every score for every further test set: a sentence, header and rows; or None."""
    arms = [(arm['arm'], arm.get('unfamiliar') or {}) for arm in task['arms']]
    columns = dict.fromkeys(
        (name, score) for _, found in arms for name, scores in found.items() for score in scores
    )
    if not columns:
        return None
    told = (
        'Unfamiliar inputs: how often an example of a further test set has a higher score than one '
        'of the own test set (AUROC; 0.5: the score does not tell them apart, 1: always), the mean '
        f'over seeds with its {100 * summary["confidence"]:g} % t interval. The scores: the energy '
        'of the outputs, and the Mahalanobis distance of what reaches the head from the nearest '
        'class of the training split.'
    )

    def cell(interval: Summary | None) -> str:
        if interval is None:
            return '–'
        value = f'{interval["estimate"]:.3f}'
        if interval['low'] is None:
            return value
        return f'{value} [{max(interval["low"], 0):.3f}, {min(interval["high"], 1):.3f}]'

    header = ['arm', *(f'{name}, {TITLES.get(score, score)}' for name, score in columns)]
    rows = [
        [arm, *(cell(found.get(name, {}).get(score)) for name, score in columns)]
        for arm, found in arms
    ]
    return told, header, rows
