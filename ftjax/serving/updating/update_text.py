"""update.md: an update for people."""

from __future__ import annotations

from ftjax.plotting.number_formats import p_value, score
from ftjax.printable import printable
from ftjax.serving.comparison.paired_scores import FEW
from ftjax.serving.updating.compare_sets import higher_is_better
from ftjax.serving.updating.updated import Updated


def update_text(found: Updated, metric: str, bundle: str) -> str:
    """The comparison as Markdown."""
    sets = list(next(iter(found.validation.values())))
    lines = [
        '# Update of a deployed network',
        '',
        f'Deployed: {printable(bundle)}. The candidate is `{printable(found.chosen)}`, the best on '
        'the validation splits. It is not promoted: that is for a person to do.',
        '',
        f'## Validation ({metric.replace("_", " ")})',
        '',
        '| strategy | ' + ' | '.join(f'{name} data' for name in sets) + ' |',
        '|---' * (1 + len(sets)) + '|',
    ]
    for name, values in found.validation.items():
        shown = ' | '.join(score(values[key], metric) for key in sets)
        lines.append(f'| {printable(name)} | {shown} |')
    sign = 1 if higher_is_better(metric) else -1
    means = {name: sign * sum(values.values()) for name, values in found.validation.items()}
    if means[found.chosen] < means['deployed']:
        lines += ['', 'On validation data the deployed network is better than the candidate.']
    lines += [
        '',
        '## Test, beside the deployed network',
        '',
        'Intervals are of the difference, 95 %, over examples, which are the same for both, or '
        "over their groups. The verdict goes by p, of McNemar's exact test; where there is none, "
        f'by the interval, and none is given where fewer than {FEW} examples or groups differ. A '
        'fall on the old data is forgetting.',
        '',
        '| strategy | data | examples | deployed | now | difference | p | |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for name, rows in found.tests.items():
        for one in rows:
            bounds = '–'
            if one.interval is not None:
                low, high = (score(value, one.metric, signed=True) for value in one.interval)
                bounds = f'[{low}, {high}]'
            lines.append(
                f'| {printable(name)} | {one.set_name} | {one.n:,} | '
                f'{score(one.before, one.metric)} | {score(one.after, one.metric)} | '
                f'{score(one.difference, one.metric, signed=True)} {bounds} | '
                f'{p_value(one.p)} | {one.verdict} |'
            )
    lines += ['', *(f'- {printable(note)}' for note in found.notes)]
    return '\n'.join(lines).rstrip() + '\n'
