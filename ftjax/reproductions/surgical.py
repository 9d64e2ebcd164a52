"""Surgical fine-tuning on shifted copies of one data set: their splits, and the cells of a grid.

Lee et al. 2022 (arXiv:2210.11466): which block should learn depends on the shift. A task is a
corruption of the images, or labels counted from the other end (`flip`: y becomes K - 1 - y).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from ftjax.ablation.cells.row import finished_fields, numbers_of, validated
from ftjax.ablation.gates.gates import check_gates
from ftjax.ablation.settings import AblationSettings, read_ablation
from ftjax.config import merged, read_config
from ftjax.data import Splits
from ftjax.data.dataset import Dataset
from ftjax.data.images.corruption import corrupt, parse_corruption
from ftjax.data.labels import DEFAULT_TASK
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import read_source
from ftjax.data.splitting import SUBSET, TEST, VAL, hold_out_per_class
from ftjax.errors import UserError, check_name
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.field_types import check_fields
from ftjax.freezing.data_driven_choice import Choice
from ftjax.models.stages import Network
from ftjax.ranges import at_least
from ftjax.runs.evaluate import network_metrics
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.tasks.metrics import check_metric
from ftjax.training.loop.fit import Diverged

TEST_SEED = 0  # the test images are the same for every seed and task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One shift."""

    corruption: str = 'none'
    """As `data.corruption`."""
    flip: bool = False
    """Labels counted from the other end."""

    def __post_init__(self):
        check_fields(Task, dict(vars(self)), 'config.surgical.tasks: one')
        parse_corruption(self.corruption)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurgicalSettings:
    """What a config says about tasks and how they are judged: `config.surgical`."""

    tasks: Mapping[str, Task]
    ablation: AblationSettings
    """Arms, rates and seeds, for every task. {'baseline': 'pretrained'} is the network as it
    was loaded."""
    test_per_class: Annotated[int, at_least(1)]
    """Test images of each class, out of what the source holds; the others are drawn from."""
    groups: Mapping[str, tuple[str, ...]]
    """Name to tasks whose mean accuracies are judged together."""
    gates: Mapping[str, tuple[tuple[str, ...], ...]]
    """Group to its gates; see ftjax/ablation/gates/gates.py."""

    def __post_init__(self):
        check_fields(SurgicalSettings, vars(self), 'config.surgical')


def read_surgical(values: Mapping[str, Any]) -> SurgicalSettings:
    """SurgicalSettings from a config's section; raises UserError for what cannot be meant."""
    known = [field.name for field in dataclasses.fields(SurgicalSettings)]
    for key in values:
        check_name(key, known, 'key of config.surgical:')
    missing = [name for name in known if name not in values]
    if missing:
        raise UserError(f'config.surgical.{missing[0]} is missing')
    tasks = {}
    for name, given in values['tasks'].items():
        for key in given:
            check_name(key, ('corruption', 'flip'), f'key of config.surgical.tasks.{name}:')
        tasks[name] = Task(**given)
    for key in ('folds', 'also_evaluate', 'movement_on'):
        if values['ablation'].get(key):
            raise UserError(f'config.surgical.ablation.{key}: tasks have one fixed test set')
    ablation = read_ablation(values['ablation'])
    check_metric(ablation.metric, DEFAULT_TASK, what='config.surgical.ablation.metric:')
    for group, names in values['groups'].items():
        for name in names:
            check_name(name, tasks, f'task of config.surgical.groups.{group}:')
    for group, gates in values['gates'].items():
        check_name(group, values['groups'], 'group of config.surgical.gates:')
        check_gates(gates, list(ablation.arms))
    return SurgicalSettings(
        tasks=tasks,
        ablation=ablation,
        test_per_class=values['test_per_class'],
        groups=values['groups'],
        gates=values['gates'],
    )


def task_data(settings: DataSettings, task: Task, test_per_class: int) -> Splits:
    """The splits of a task: test images fixed, the others drawn by `settings.seed`.

    Training and validation images are the same in every task, `examples_per_class` and
    `val_per_class` of each class; only images that are used are corrupted.
    """
    if settings.examples_per_class is None or settings.val_per_class is None:
        raise UserError('surgical tasks need data.examples_per_class and data.val_per_class')
    pool = whole(dataclasses.replace(settings, seed=0))
    rest, test = hold_out_per_class(
        pool, test_per_class, TEST_SEED, TEST, 'config.surgical.test_per_class'
    )
    seed = settings.seed
    rest, val = hold_out_per_class(rest, settings.val_per_class, seed, VAL, 'data.val_per_class')
    _, few = hold_out_per_class(
        rest, settings.examples_per_class, seed, SUBSET, 'data.examples_per_class'
    )
    return Splits(train=shifted(few, task), val=shifted(val, task), test=shifted(test, task))


@functools.lru_cache(maxsize=1)
def whole(settings: DataSettings) -> Dataset:
    """All examples of a source, before any split of ours; kept, for it is asked for often."""
    return read_source(settings).training


def shifted(dataset: Dataset, task: Task) -> Dataset:
    """The data set under a task's shift."""
    if task.flip:
        labels = dataset.num_classes - 1 - dataset.labels
        dataset = dataclasses.replace(dataset, labels=labels, name=f'{dataset.name}+flip')
    return corrupt(dataset, task.corruption)


def task_runner(values: Mapping[str, Any], settings: SurgicalSettings, task: Task):
    """`execute(arm, rate, seed)` for `run_grid`: one cell of a task, as a row's fields.

    Args:
      values: the config as plain dicts, without its section `surgical`.
    """

    @functools.lru_cache(maxsize=4)
    def data_of(data: DataSettings) -> Splits:
        return task_data(data, task, settings.test_per_class)

    def execute(arm: str, rate: float | None, seed: int) -> dict[str, Any]:
        changes = settings.ablation.changes(arm)
        baseline = changes.pop('baseline', None)
        tuned = {} if rate is None else {'optimizer.learning_rate': rate}
        seeds = {'seed': seed, 'data.seed': seed}
        config = read_config(merged(values, {**changes, **seeds, **tuned}))
        data = data_of(config.data)
        prepared = prepare(config, data)
        if baseline is not None:
            check_name(baseline, ('pretrained',), 'baseline')
            found = {
                split: network_metrics(
                    prepared.network,
                    prepared.variables,
                    data,
                    config,
                    prepared.preprocessing,
                    split,
                )
                for split in ('val', 'test')
            }
            return {
                **finished_fields(numbers_of(found['val']), found['test'], {}),
                'data_fingerprint': data.fingerprint,
                'test_fingerprint': data.test.fingerprint,
            }
        try:
            fitted, result = train(prepared, progress=False)
            validation = validated(
                prepared, fitted.variables, fitted.validation, settings.ablation.metric
            )
        except (Diverged, NonFinitePredictions) as error:
            return {'status': 'diverged', 'reason': str(error)}
        kept = (
            *('params_total', 'params_trainable', 'step_flops', 'step_seconds_median'),
            *('wall_seconds', 'frozen_unchanged', 'best_step', 'data_fingerprint'),
        )
        row = finished_fields(
            validation,
            result['metrics'],
            {},
            **{key: result[key] for key in kept},
            test_fingerprint=data.test.fingerprint,
            identity=result['identity'],
        )
        if fitted.plan.choices:
            row['weights'] = section_weights(prepared.network, fitted.plan.choices)
        return row

    return execute


def section_weights(network: Network, choices: tuple[Choice, ...]) -> dict[str, float]:
    """Mean weight that choices gave the leaves of each block, and of the head.

    Leaves without any weight (norms, under auto_rgn) are left out of the mean: blocks have
    more of them than the stem and the head.
    """
    sections = {f'block{n + 1}': names for n, names in enumerate(network.sections)}
    found = {}
    for name, stages in {**sections, 'head': ('head',)}.items():
        inside = [
            weight
            for choice in choices
            for path, weight in choice.weights.items()
            if weight > 0 and path.split('/')[0] in stages
        ]
        found[name] = float(np.mean(inside)) if inside else 0.0
    return found
