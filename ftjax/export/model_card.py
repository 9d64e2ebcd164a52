"""The README.md of an exported network: what trained, on what, how well, made by what."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from ftjax.errors import UserError
from ftjax.evaluation.intervals import wilson_interval
from ftjax.evaluation.metric import MetricValues
from ftjax.export.leaves_in_words import leaves_tables
from ftjax.io.identity.identity_changes import joined, part
from ftjax.io.json.json_values import JsonObject
from ftjax.pretrained.locate.hub import parse
from ftjax.printable import in_markdown
from ftjax.tasks import task_of
from ftjax.training.adaptation.in_words import adaptation_in_words

PLAN = 'training_plan.json'
"""The run's plan.json, as an exported folder has it."""
# Metric, its name for people, and whether it is a share that reads best in percent.
METRICS = (
    ('accuracy', 'accuracy', True),
    ('balanced_accuracy', 'balanced accuracy', True),
    ('top5_accuracy', 'top-5 accuracy', True),
    ('f1_macro', 'F1 (macro)', True),
    ('log_loss', 'log loss (nats)', False),
    ('ece', 'calibration error (15 bins)', False),
    ('mse', 'mean squared error', False),
    ('mae', 'mean absolute error', False),
    ('r2', 'R²', False),
    ('spearman', 'Spearman correlation', False),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CardFacts:
    """The content of a card: the JSON files of a run, and what the export adds."""

    model_class: str
    """As in config.json's architectures."""
    config: JsonObject
    plan: JsonObject
    result: JsonObject
    takes: str = ''
    """What the network takes: `images`, `texts` or `table`."""
    library: str = 'transformers'
    """'transformers', or 'peft' for adapters in their own format."""
    adapters: str = ''
    """A sentence on what became of adapters; '' where there are none."""
    usage: str = ''
    """Python that opens the folder."""
    command: str = ''
    """The command that exported."""


def model_card(facts: CardFacts) -> str:
    """The card as Markdown with the hub's YAML header."""
    source = facts.config.get('data', {}).get('source', 'data that the run does not name')
    header = {'library_name': facts.library, 'tags': ['ftjax', 'fine-tuned']}
    if pipeline := pipeline_of(facts):
        header['pipeline_tag'] = pipeline
    init = str(facts.config.get('init') or '')
    if init.startswith('hf://'):
        header['base_model'] = parse(init).repository
    sections = [
        ('What trained', plan_in_words(facts.plan, facts.result, facts.adapters)),
        ('Data', data_in_words(facts.config, facts.result)),
        ('Results', results_table(facts.result)),
        ('Use', ['```python', facts.usage, '```'] if facts.usage else []),
        ('How it was made', made_in_words(facts)),
    ]
    # A JSON value is a YAML value too, with the quotes that odd names need.
    lines = ['---', *(f'{key}: {json.dumps(value)}' for key, value in header.items()), '---', '']
    lines += [f'# {facts.model_class} fine-tuned on {in_markdown(source)}', '']
    lines.append(f'Started from {in_markdown(init or "random weights")}.')
    for title, content in sections:
        if content:
            lines += ['', f'## {title}', '', *content]
    return '\n'.join(lines) + '\n'


def pipeline_of(facts: CardFacts) -> str:
    """What the hub calls the run's task; '' for one that it has no name for, or that is unknown."""
    task = facts.config.get('data', {}).get('task')
    try:
        return task_of(task).pipelines.get(facts.takes, '') if task else ''
    except UserError:  # of the user's own, whose file is not here
        return ''


def plan_in_words(plan: JsonObject, result: JsonObject, adapters: str = '') -> list[str]:
    """Strategy, trainable share, and the stages of each phase, as sentences."""
    lines = [adapters] if adapters else []
    strategy = result.get('strategy') or plan.get('strategy')
    if strategy:
        lines.append(f'Freezing strategy `{strategy}`.')
    trained, total = result.get('params_trainable'), result.get('params_total')
    if trained is not None and total:
        share = 100 * trained / total
        lines.append(f'{trained:,} of {total:,} parameters trained ({share:.3g} %).')
    phases = plan.get('phases') or []
    lines += [''] if phases else []
    for phase in phases:
        names = list(phase.get('stages', {}))
        trains = [name for name in names if phase['stages'][name].get('trains')]
        when = f'From step {phase.get("start", 0)}: trained' if len(phases) > 1 else 'Trained'
        sentence = f'{when} in {runs_of(trains, names)}'
        rest = runs_of([name for name in names if name not in trains], names)
        lines.append(f'- {sentence}; frozen: {rest}.' if rest else f'- {sentence}; nothing frozen.')
    return [*lines, *leaves_tables(plan), *frozen_in_words(result, adapters)]


def frozen_in_words(result: JsonObject, adapters: str = '') -> list[str]:
    """Whether frozen leaves were compared with what was loaded, and where the plan is."""
    told, adaptation = f'The whole plan is in `{PLAN}`.', adaptation_in_words(result)
    if result.get('frozen_unchanged') is True:
        later = ['adaptation'] if adaptation else []
        later += ['merge'] if 'merged' in adapters else []
        when = f', before the {" and the ".join(later)},' if later else ''
        told = f'After training{when} every frozen leaf was bitwise as it was loaded. {told}'
    if adaptation:
        told = f'{told} {in_markdown(adaptation[0].upper() + adaptation[1:])}.'
    return ['', told]


def runs_of(chosen: Sequence[str], names: Sequence[str]) -> str:
    """Names in order, neighbours drawn together.

    >>> runs_of(['a', 'b', 'c', 'e'], ['a', 'b', 'c', 'd', 'e'])
    'a .. c, e'
    """
    runs: list[list[str]] = []
    for index, name in enumerate(names):
        if name not in chosen:
            continue
        if runs and index and runs[-1][-1] == names[index - 1]:
            runs[-1].append(name)
        else:
            runs.append([name])
    joined = [f'{r[0]} .. {r[-1]}' if len(r) > 2 else ', '.join(r) for r in runs]
    return ', '.join(joined)


def data_in_words(config: JsonObject, result: JsonObject) -> list[str]:
    """Where the examples are from, and the fingerprint by which they are known again."""
    data = config.get('data', {})
    lines = [f'- source: `{in_markdown(data["source"])}`'] if data.get('source') else []
    if data.get('examples_per_class'):
        lines.append(f'- {data["examples_per_class"]} training examples a class')
    if 'seed' in data:
        lines.append(f'- split seed: {data["seed"]}')
    if result.get('data_fingerprint'):
        lines.append(f'- fingerprint: `{result["data_fingerprint"]}`')
    if result.get('data_changed'):
        lines.append(
            f'- **{in_markdown(result["data_changed"])}**: the results are of no one data set'
        )
    return lines


def identity_in_words(result: JsonObject) -> list[str]:
    """Hashes of the weights that it started from and of code of its maker's own."""
    identity = result.get('identity')
    loaded, code = part(identity, 'weights').get('loaded'), part(part(identity, 'code'), 'files')
    lines = [f'- weights at the start: sha256 `{loaded}`'] if loaded else []
    lines += [
        f'- own code `{in_markdown(name)}`: sha256 `{digest}`' for name, digest in code.items()
    ]
    for change in result.get('identity_changes') or []:
        words = [str(word) for found in part(change, 'changed').values() for word in found]
        if words:
            lines.append(
                f'- **changed at step {change.get("step")}: {in_markdown(joined(words))}**'
            )
    return lines


def results_table(result: JsonObject) -> list[str]:
    """The test metrics with 95 % intervals, as a Markdown table; [] where nothing was measured."""
    metrics = result.get('metrics') or {}
    rows = []
    for name, label, is_share in METRICS:
        value = metrics.get(name)
        if not isinstance(value, (int, float)):
            continue
        interval = interval_of(metrics, name)
        bounds = ' to '.join(number(x, is_share) for x in interval) if interval else ''
        rows.append(f'| {label} | {number(value, is_share)} | {bounds} |')
    if not rows:
        return []
    examples = f'{metrics["n"]:,} test examples. ' if metrics.get('n') else ''
    how = 'test examples (Wilson for the accuracy, bootstrap for errors)'
    if metrics.get('groups'):
        how = f'the {metrics["groups"]:,} groups that the test examples belong to (bootstrap)'
    told = f'{examples}Intervals cover the choice of {how}, not that of the training seed.'
    return ['| metric | value | 95 % interval |', '|---|---|---|', *rows, '', told]


def interval_of(metrics: MetricValues, name: str) -> Sequence[float] | None:
    """The interval of a metric, computed for an accuracy that comes without."""
    found = metrics.get(f'{name}_interval')
    if found is None and name == 'accuracy' and metrics.get('n') and not metrics.get('groups'):
        found = wilson_interval(round(metrics[name] * metrics['n']), metrics['n'])
    return found


def number(value: float, is_share: bool) -> str:
    """A metric as text: a share in percent.

    >>> number(0.5, True), number(0.25, False)
    ('50.00 %', '0.25')
    """
    return f'{100 * value:.2f} %' if is_share else f'{value:.4g}'


def made_in_words(facts: CardFacts) -> list[str]:
    """Commands, versions and the state of the code."""
    made = facts.result.get('provenance') or {}
    versions = made.get('versions') or facts.result.get('versions') or {}
    commit = (made.get('git') or {}).get('commit')
    known = ', '.join(f'{name} {version}' for name, version in versions.items() if version)
    seed = facts.result.get('seed', facts.config.get('seed'))
    lines = [
        f'- trained by `{made["command"]}`' if made.get('command') else '',
        f'- exported by `{facts.command}`' if facts.command else '',
        f'- commit `{commit}`' if commit else '',
        f'- seed {seed}' if seed is not None else '',
        f'- {facts.result["steps"]} steps' if facts.result.get('steps') else '',
        f'- {known}' if known else '',
        *identity_in_words(facts.result),
    ]
    return [line for line in lines if line]
