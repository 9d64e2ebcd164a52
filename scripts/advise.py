r"""What should I freeze, on my data? Races the usual ways of freezing and says which to train.

    python scripts/advise.py --config=configs/finetune.py --workdir=runs/advice --budget='10 min' \
        --config.data.source=folder:PATH --config.init=hf://ORG/NAME

The arms follow from the network: its head, its normalisation layers, its biases, its first and
last blocks, layer-wise rates, LoRA, all of it; baselines stand beside them. Each arm chooses its
learning rate on validation data; then seeds are added to the arms that are not decided, until
every verdict is there or the budget ('10 min', '2e15 flops', '60 runs') is spent. An interrupted
call goes on where it stopped.

Writes advice.html (the recommendation, what it costs and gives up, what is not decided),
advice.json, chosen.py (a config that trains the choice), and all that scripts/ablate.py writes.
A config with a section `ablation` may set seeds, metric, margin, budget, or arms of its own.
"""

import dataclasses
import pathlib

from absl import flags

from ftjax.cli import launch

CONFIG = launch.define_config('configs/finetune.py:drawings')
WORKDIR = launch.define_workdir()
BUDGET = flags.DEFINE_string(
    'budget', None, "What may be spent: '60 runs', say; else what the config says, or '10 min'."
)
ENGINE = launch.define_engine()
ALLOWED = launch.define_allowed_changes()


def main():
    from ftjax.ablation.advice.arms import ablation_of, candidate_arms, described_arms
    from ftjax.ablation.advice.recommendation import recommend
    from ftjax.ablation.budgets.budget import read_budget
    from ftjax.ablation.cells.task_grids import check_grids, run_grids
    from ftjax.ablation.report.grid_report import write_grid_results
    from ftjax.ablation.settings import read_ablation
    from ftjax.config import plain, read_config
    from ftjax.data import load_data
    from ftjax.io.files.lock import run_lock
    from ftjax.runs.network_opening import open_network

    values = plain(CONFIG.value)
    given = values.pop('ablation', {})
    budget = BUDGET.value or given.get('budget') or '10 min'
    read_budget(budget, '--budget' if BUDGET.value else 'config.ablation.budget')
    config = read_config(values)
    data = load_data(config.data)
    arms, not_compared = candidate_arms(values, data, open_network(config, data))
    if 'arms' not in given:
        print(described_arms(arms, not_compared), flush=True)
    settings = read_ablation(ablation_of(config, arms, data, given, budget))
    check_grids(values, settings)
    folder = pathlib.Path(WORKDIR.value)
    engine = ENGINE()
    with run_lock(folder, enabled=launch.first_process()):
        # Not vectorised: the time of a step is then its own, and costs can be compared.
        rows, notes, races = run_grids(values, settings, folder, engine, False, allow=ALLOWED())
        summary, _ = write_grid_results(folder, values, settings, rows, notes, races)
        advice = recommend(summary)
        write_advice(folder, values, settings, advice, summary, data, notes, not_compared)
    print('\n'.join(['', *advice.sentences, '', f'Why: {folder / "advice.html"}']))


def write_advice(folder, values, settings, advice, summary, data, notes, not_compared):
    """advice.json, chosen.py and advice.html."""
    from ftjax.ablation.advice.advice_page import advice_page
    from ftjax.cli.config_file import write_config_file
    from ftjax.config import merged
    from ftjax.data.audit.overview import findings, sizes
    from ftjax.io.files.atomic import to_jsonable, write_json, write_text
    from ftjax.io.process.provenance import command_line, provenance, script_command

    write_json(folder / 'advice.json', to_jsonable(dataclasses.asdict(advice)))
    file = folder / 'chosen.py'
    file.unlink(missing_ok=True)
    if advice.choice is not None:
        changes = {**settings.changes(advice.choice), 'optimizer.learning_rate': advice.rate}
        about = f'What scripts/advise.py chose: {advice.choice}.'
        write_config_file(file, merged(values, changes), about)
    write_text(
        folder / 'advice.html',
        advice_page(
            advice,
            summary,
            data=(sizes(data), *findings(data)),
            command=script_command('train', f'--config={file}', f'--workdir={folder / "chosen"}'),
            notes=notes,
            not_compared=not_compared,
            provenance={'command': command_line(), **provenance()},
        ),
    )


if __name__ == '__main__':
    launch.run(main)
