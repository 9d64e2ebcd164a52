r"""Variants of LoRA, each at its own rate and all at a shared one, from rows of an ablation.

    python scripts/reproductions/lora_variants.py --rows=results/strategies/runs.jsonl \
        --workdir=runs/lora_variants

Published (arXiv:2602.04998): tuned, variants lie within 1 to 2 points of each other; at one shared
rate they spread. Writes table.md and verdicts.json; nothing is run.
"""

import itertools
import pathlib

from absl import flags

from ftjax.cli import launch

ROWS = flags.DEFINE_string('rows', 'results/strategies/runs.jsonl', 'Rows of the ablation.')
ARMS = flags.DEFINE_list(
    'arms',
    ['lora:8', 'lora:8,all', 'rslora:8', 'dora:8', 'lora:8+loraplus:16', 'oft:32'],
    'Arms that are compared, the first with all others; an arm with a comma is written in quotes.',
)
METRIC = flags.DEFINE_string('metric', 'accuracy', 'Of validation, to choose rates, and of test.')
WITHIN = flags.DEFINE_float('within', 2.0, 'Points within which the arms are said to tie.')
WORKDIR = launch.define_workdir()
NOTE = (
    'At their own rates: the rate of each arm with the highest mean validation score, all seeds. '
    'At a shared rate: seeds that all arms ran at it. Range: the best mean less the worst. The '
    'statement passes if the 95 % intervals of all pairs lie within the points; it fails if one '
    'lies wholly outside, and is undecided otherwise. Each interval holds by itself. Limits: one '
    'small network and data set, those of the rows; ranges at a shared rate are of few seeds, and '
    'have no interval.'
)


def main():
    from ftjax.ablation.grid.rows import read_rows
    from ftjax.ablation.report.tables import markdown
    from ftjax.ablation.statistics.comparison import compare_arms
    from ftjax.errors import UserError, check_name
    from ftjax.io.files.atomic import write_json, write_text

    rows = [row for row in read_rows(pathlib.Path(ROWS.value)) if row['status'] == 'ok']
    for arm in ARMS.value:
        check_name(arm, {row['arm'] for row in rows}, f'arm of {ROWS.value}:')
    scores = {arm: scores_of(rows, arm) for arm in ARMS.value}
    own = {arm: best_rate(rows, arm) for arm in scores}
    tuned = {arm: scores[arm][own[arm]] for arm in scores}
    seeds = sorted(set.intersection(*({*found} for found in tuned.values())))
    if len(seeds) < 2:
        raise UserError(f'{ROWS.value}: the arms share fewer than two seeds at their own rates')
    by_seed = {arm: {seed: found[seed] for seed in seeds} for arm, found in tuned.items()}
    found = compare_arms(by_seed, ARMS.value[0], higher_is_better=True, margin=0.0)
    pairs = [found.contrast({a: 1, b: -1}) for a, b in itertools.combinations(scores, 2)]
    ends = [sorted((100 * pair.low, 100 * pair.high)) for pair in pairs]
    inside = all(-WITHIN.value <= low and high <= WITHIN.value for low, high in ends)
    outside = any(low > WITHIN.value or high < -WITHIN.value for low, high in ends)
    shared = sorted(set.intersection(*({*found} for found in scores.values())))
    ranges = {rate: range_of(scores, rate) for rate in shared}
    widest = max(ends, key=lambda pair: max(-pair[0], pair[1]))
    verdict = {
        'gate': f'tuned, all lie within {WITHIN.value:g} points of each other',
        'kind': 'gate',
        'value': 100 * (max(map(mean, by_seed.values())) - min(map(mean, by_seed.values()))),
        'interval': widest,
        'passed': True if inside else False if outside else None,
        'ranges_at_shared_rates': {f'{rate:g}': 100 * size for rate, (size, _) in ranges.items()},
    }
    header = ['arm', 'own rate', f'at its own ({len(seeds)} seeds)']
    header += [f'at {rate:g} ({len(used)} seeds)' for rate, (_, used) in ranges.items()]
    body = [
        [
            *(arm, f'{own[arm]:g}', f'{100 * mean(by_seed[arm]):.1f}'),
            *(
                f'{100 * mean({s: scores[arm][rate][s] for s in used}):.1f}'
                for rate, (_, used) in ranges.items()
            ),
        ]
        for arm in scores
    ]
    sizes = [f'{100 * size:.1f}' for size, _ in ranges.values()]
    body.append(['range', '', f'{verdict["value"]:.1f}', *sizes])
    rest = [f'{100 * without_worst(scores, rate):.1f}' for rate in ranges]
    body.append(['range without its worst arm', '', '', *rest])
    outcome = {True: 'passed', False: 'failed', None: 'undecided'}[verdict['passed']]
    low, high = widest
    said = f'{verdict["gate"]}: {outcome}; the widest interval of a pair is'
    told = f'{said[0].upper()}{said[1:]} [{low:+.1f}, {high:+.1f}].'
    folder = pathlib.Path(WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    text = f'{markdown(header, body)}\n\n{told}\n\n{NOTE}\n'
    write_text(folder / 'table.md', text)
    write_json(folder / 'verdicts.json', [verdict])
    print(text)


def scores_of(rows, arm):
    """{rate: {seed: test score}} of an arm."""
    found = {}
    for row in rows:
        if row['arm'] == arm:
            found.setdefault(row['rate'], {})[row['seed']] = row['test'][METRIC.value]
    return found


def best_rate(rows, arm):
    """The rate with the highest mean validation score, on the seeds that tried all its rates."""
    tried = {}
    for row in rows:
        if row['arm'] == arm:
            tried.setdefault(row['rate'], {})[row['seed']] = row['val'][METRIC.value]
    common = set.intersection(*({*found} for found in tried.values()))
    return max(tried, key=lambda rate: mean({seed: tried[rate][seed] for seed in common}))


def range_of(scores, rate):
    """(best mean less worst, seeds) of all arms at one rate, on the seeds that all ran at it."""
    used = sorted(set.intersection(*({*found[rate]} for found in scores.values())))
    means = [mean({seed: found[rate][seed] for seed in used}) for found in scores.values()]
    return max(means) - min(means), used


def without_worst(scores, rate):
    """As the first of `range_of`, without the arm that is worst at this rate."""
    _, used = range_of(scores, rate)
    means = sorted(mean({seed: found[rate][seed] for seed in used}) for found in scores.values())
    return means[-1] - means[1]


def mean(scores):
    """Of the values of a mapping."""
    return sum(scores.values()) / len(scores)


if __name__ == '__main__':
    launch.run(main)
