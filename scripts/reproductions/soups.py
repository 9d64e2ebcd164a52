r"""WiSE-FT and model soups around one start, in and out of distribution.

    python scripts/reproductions/soups.py \
        --config=configs/reproductions/t5_digits.py --workdir=runs/t5

Writes runs.jsonl (the rows of a seed once it is done), table.md, summary.json, verdicts.json,
figures and report.html. Seeds that are done are not repeated.
"""

import pathlib

from ftjax.cli import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()


def main():
    from ftjax.ablation.grid.rows import read_rows
    from ftjax.ablation.report.results_folder import write_results
    from ftjax.ablation.summary.summary import summarise
    from ftjax.config import plain
    from ftjax.distributed.preemption import stop_if_requested, stops_on_signals
    from ftjax.errors import UserError
    from ftjax.io.atomic import read_json, to_jsonable, write_json
    from ftjax.io.jsonl import JsonLines
    from ftjax.io.lock import run_lock
    from ftjax.io.progress import Progress
    from ftjax.reproductions import soups
    from ftjax.reproductions.soup_gates import verdicts

    values = plain(CONFIG.value)
    if 'soups' not in values:
        raise UserError('the config has no section `soups`; see configs/reproductions/t5.py')
    settings = soups.read_soups(values['soups'])
    described = to_jsonable(values)
    for told in ('question', 'notes', 'seeds'):  # decide nothing of a seed's rows
        described['soups'].pop(told, None)
    del values['soups']
    folder = pathlib.Path(WORKDIR.value)
    with run_lock(folder, enabled=launch.first_process()), stops_on_signals():
        known = folder / 'soups.json'
        if known.exists() and read_json(known) != described:
            raise UserError(f'{folder} holds soups of another config; choose another --workdir')
        write_json(known, described)
        path = folder / 'runs.jsonl'
        inside = [soups.wise(alpha) for alpha in settings.alphas]
        arms = [soups.START, soups.BEST, soups.MEAN, soups.UNIFORM, soups.GREEDY, *inside]
        rows = read_rows(path)
        done = [seed for seed in settings.seeds if _whole(rows, arms, seed)]
        rows = [row for row in rows if row['seed'] in done]
        with (
            JsonLines(path) as log,
            Progress(len(settings.seeds), 'soups', unit='seed', start=len(done)) as bar,
        ):
            for seed in settings.seeds:
                if seed in done:
                    continue
                stop_if_requested()
                made = to_jsonable(soups.seed_rows(values, settings, seed))
                for row in made:
                    log.append(row, sync=True)
                rows += made
                done.append(seed)
                bar.update(len(done))
    found = verdicts(
        rows,
        start=soups.START,
        best=soups.BEST,
        uniform=soups.UNIFORM,
        greedy=soups.GREEDY,
        inside=inside,
        shifted=soups.SHIFTED,
    )
    summary = summarise(
        rows,
        reference=soups.BEST,
        arms=arms,
        seeds=settings.seeds,
        question=settings.question,
    )
    table = write_results(
        folder,
        summary,
        title=settings.question,
        setup={
            'data': values['data']['source'],
            'training examples a class': values['data']['examples_per_class'],
            'network': values['init'],
            'rates of the members': settings.rates,
            'members a rate': settings.orders,
            'shifts': settings.shifts,
        },
        notes=settings.notes,
        gates=found,
    )
    print(table)


def _whole(rows, arms, seed):
    # A seed's rows are written one after the other; a kill may leave some of them.
    return set(arms) <= {row['arm'] for row in rows if row['seed'] == seed}


if __name__ == '__main__':
    launch.run(main)
