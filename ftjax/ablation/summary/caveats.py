"""What a reader must know before believing the table of an ablation."""

from __future__ import annotations

from ftjax.ablation.statistics.row_types import Summary


def caveats(summary: Summary) -> list[str]:
    """What a reader must know before believing the table; sentences, the gravest first."""
    found = []
    for task in summary['tasks']:
        where = '' if len(summary['tasks']) == 1 else f' on {task["task"]}'
        for arm in task['arms']:
            if arm['n_unfinished']:
                others = 'its mean is over the others and may flatter it'
                found.append(
                    f'{arm["arm"]}{where}: {arm["n_unfinished"]} of {arm["n"]} runs '
                    f'{_how_unfinished(arm)}; {others if arm["n_ok"] else "it has no mean"}.'
                )
            if arm['n_missing']:
                found.append(
                    f'{arm["arm"]}{where}: {arm["n_missing"]} of {arm["n"]} runs are missing.'
                )
            if arm['rate_edge']:
                found.append(
                    f'{arm["arm"]}{where}: the best rate {arm["rate"]:g} is the '
                    f'{arm["rate_edge"]}est that was tried; a better one may lie beyond.'
                )
        trials = {arm['n_trials'] for arm in task['arms'] if arm['rate'] is not None}
        if len(trials) > 1:
            counts = ', '.join(str(n) for n in sorted(trials))
            found.append(f'Arms{where} were tuned with unequal numbers of rates ({counts}).')
        if trials == {1}:
            found.append(f'Every arm{where} was run at one rate: none was tuned.')
    n, folds = len(summary['seeds']), summary.get('folds')
    if summary.get('tuning_seeds'):
        count = len(summary['tuning_seeds'])
        found.append(
            f'Rates were tried with {count} of the {n} seeds; the others were run at the chosen '
            'rate alone.'
        )
    if folds:
        found.append(
            f'{folds}-fold cross-validation: what is called a seed is one fold of one seed, '
            f'{n} in all. Training sets of folds overlap: intervals and verdicts allow for it '
            '(Nadeau and Bengio 2003).'
        )
    again = _judged_again(summary)
    if again:
        found.append(
            'The arms raced: how many seeds an arm has depends on its scores. Intervals and '
            f'verdicts of {" and ".join(again)} do not allow for that, and may be wrong more often '
            'than is said.'
        )
    if summary.get('vectorised'):
        found.append(
            f'Runs of {", ".join(summary["vectorised"])} shared programs, several rates at a '
            'time: their times and FLOPs are shares, lower than those of a run alone.'
        )
    if summary.get('workers'):
        found.append(
            f'Runs ran up to {summary["workers"]} at a time: where they shared processors, times '
            'of steps and runs are longer than those of a run alone.'
        )
    if summary.get('devices'):
        of = ', '.join(f'{arm} over {count}' for arm, count in summary['devices'].items())
        found.append(
            f'Leaves were in parts over several devices ({of}): times of these arms are those of '
            'all of them together.'
        )
    if summary.get('retried'):
        count = summary['retried']
        found.append(
            f'{count} run{"s" if count > 1 else ""} had failed before and '
            f'{"were" if count > 1 else "was"} tried again (--retry_failed).'
        )
    if n == 1:
        found.append('Only 1 seed: there are no intervals, and any difference may be chance.')
    elif n < 5:
        found.append(
            f'Only {n} seeds: intervals are wide, and where no difference is significant there '
            'may still be one.'
        )
    return found


def _judged_again(summary: Summary) -> list[str]:
    """What is compared at all of alpha beside the looks of a race; [] for none."""
    if not summary.get('races'):
        return []
    arms = [arm for task in summary['tasks'] for arm in task['arms']]
    kinds = {
        'all tasks together': bool(summary['overall']),
        'further test sets': any(arm['shifts'] for arm in arms),
        'changes of retention': any(arm.get('retention') for arm in arms),
    }
    return [kind for kind, there in kinds.items() if there]


def _how_unfinished(arm: Summary) -> str:
    parts = [
        (arm['n_diverged'], 'diverged'),
        (arm['n_failed'], 'failed'),
        (arm['n_undefined'], 'finished without a value of the metric'),
    ]
    known = [(count, word) for count, word in parts if count]
    if len(known) == 1:
        return known[0][1]
    return ' or '.join(f'{word} ({count})' for count, word in known)
