"""The table of where the uncertainty of differences comes from."""

from __future__ import annotations

from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats


def uncertainty_table(
    task: Summary, summary: Summary
) -> tuple[str, list[str], list[list[str]]] | None:
    """Where the uncertainty of differences comes from: a sentence, header and rows; or None."""
    sources = task.get('sources')
    if not sources:
        return None
    metric, reference = summary['metric'], summary['reference']
    count = f'{sources["examples"]:,.0f}'
    if sources['fixed']:
        told = (
            f'Where the uncertainty comes from: ± 1.96 standard errors, of each arm alone, for '
            f'other seeds on the same {count} test examples, for other test examples with the same '
            'trained networks, and for both.'
        )
    else:
        told = (
            'Where the uncertainty comes from: ± 1.96 standard errors, of each arm alone. Each '
            f'seed draws its own test split of {count} examples, so that what is seen over seeds '
            'is both; for other test examples is what splits of this size make of it, for other '
            'seeds the rest. Splits that share examples make the latter look too small.'
        )
    wide = [('other seeds', 'seeds'), ('other test examples', 'examples'), ('both', 'both')]
    header = ['arm', f'difference to {reference}', *(f'± {title}' for title, _ in wide)]
    header += ['right in the arm alone', f'right in {reference} alone']
    if any('only_arm' in arm for arm in sources['arms']):
        told += (
            f' Right in the arm alone: test examples that the arm has right and {reference} wrong, '
            f'the mean over seeds; right in {reference} alone: the contrary.'
        )
    rows = []
    for arm in sources['arms']:
        row = [arm['arm'], number_formats.score(arm['difference'], metric, signed=True)]
        row += [number_formats.score(1.96 * arm[key], metric) for _, key in wide]
        for key in ('only_arm', 'only_reference'):
            row.append(f'{arm[key]:,.1f}' if key in arm else '–')
        rows.append(row)
    return told, header, rows
