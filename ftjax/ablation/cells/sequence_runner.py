"""One cell of a sequence: one network that learns task after task, tested on all so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.ablation.cells.row import finished_fields, validated
from ftjax.ablation.cells.run_cell import CellRunner, check_unchanged, split_fields
from ftjax.ablation.sequences.joint_fields import joint_hash, joint_splits, mean_of
from ftjax.ablation.sequences.sequence_forgetting import forgetting_after
from ftjax.config import Config, merged
from ftjax.data import Splits, load_data
from ftjax.data.audit.overview import overview
from ftjax.data.text.trained_tokenizer import wanted
from ftjax.errors import UserError
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.freezing.registry import parse
from ftjax.leaves import flatten
from ftjax.pytrees import Flat, Variables
from ftjax.runs.before_training.previous_tasks import fisher_at
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.identity import data_identity, run_identity
from ftjax.runs.network_opening import open_network
from ftjax.runs.prepare import Prepared, prepare
from ftjax.runs.run import train
from ftjax.runs.run_spec import run_spec
from ftjax.tasks.metrics import metric_of
from ftjax.training.loop.fit import Diverged

SUMS = ('steps', 'wall_seconds')
LARGEST = ('params_total', 'params_trainable', 'optimizer_bytes', 'step_flops', 'step_bytes')


FROM_THE_START = ('regulariser', 'weights')
"""Kinds of strategy that look at the weights a task began with, those of a new head apart."""


class SequenceRunner(CellRunner):
    """A cell goes through the tasks of `ablation.sequence`; its config is that of the first.

    What is carried from task to task is all but the head: the trunk, adapters, running
    statistics. Each task has a head of its own, which is kept as it was when the next task began,
    unless `sequence_head` is `shared`: then the head is carried too. Optimizer state and schedule
    begin anew. A regulariser pulls to the weights that a task began with.
    """

    def __reduce__(self):
        return SequenceRunner, (self.values, self.settings)

    def config_of(self, arm: str, rate: float | None, draw: int, task: str = '') -> Config:
        """The config of a cell on a task of the sequence; on the first one without a name."""
        changes = self.settings.tasks[task or self.settings.sequence[0]]
        own = CellRunner(merged(self.values, changes), self.settings)
        return own.config_of(arm, rate, draw)

    def data_of(self, config: Config) -> Splits:
        """The data of one task; those of a seed's tasks are kept, all cells take them."""
        known = repr(config.data)
        if known not in self._splits:
            if len(self._splits) >= len(self.settings.sequence):
                self._splits.clear()
            self._splits[known] = load_data(config.data)
        return self._splits[known]

    def tasks(self, cell: tuple[str, float | None, int]) -> dict[str, tuple[Config, Splits]]:
        """Config and data of every task, in order."""
        configs = {task: self.config_of(*cell, task) for task in self.settings.sequence}
        return {task: (config, self.data_of(config)) for task, config in configs.items()}

    def check(self) -> None:
        """Looks at the data of every task, before anything is run; see CellRunner.

        Raises:
          UserError: also a tokenizer that would be another one for each task, and tasks or arms
            that cannot share a head.
        """
        for task in self.settings.sequence:
            values = merged(self.values, self.settings.tasks[task])
            for arm in self.settings.arms:
                tokenizer = self.config_of(arm, None, self.settings.draws[0], task).data.tokenizer
                if wanted(tokenizer) is not None:
                    raise UserError(
                        f'task {task!r} of config.ablation.sequence: data.tokenizer {tokenizer!r} '
                        'makes a tokenizer from the texts of each task, and one network learns all '
                        'tasks; expected a tokenizer.json'
                    )
            known = dict(self._splits)
            CellRunner(values, self.settings, known).check()
            self._splits |= known
        for arm in self.settings.arms if self.shared_head else ():
            self._check_shared_head(arm)

    def _check_shared_head(self, arm: str) -> None:
        """UserError where one head cannot learn all tasks, or would be treated as a new one."""
        where = "config.ablation.sequence_head is 'shared'"
        found = self.tasks((arm, None, self.settings.draws[0]))
        first = next(iter(found.values()))[1]
        orders: dict[frozenset[str], tuple[str, list[str]]] = {}
        for task, (config, data) in found.items():
            told = f'{where}, and the tasks are not alike: {self.settings.sequence[0]!r} '
            for one, other in (
                (first.task, data.task),
                (f'{first.num_outputs} outputs', f'{data.num_outputs} outputs'),
            ):
                if one != other:
                    raise UserError(f"{told}{one}, {task!r} {other}; set it to 'own'")
            names = [*data.class_names]
            other, order = orders.setdefault(frozenset(names), (task, names))
            if names != order:
                raise UserError(
                    f'{where}, and task {task!r} has the classes of {other!r} in another order: '
                    f'{names}, {order}; give data.class_names in one'
                )
            for term in parse(config.freeze.strategy):
                if term.details.kind in FROM_THE_START:
                    raise UserError(
                        f'{where}, and arm {arm!r} holds {term}, which takes the head of every '
                        "task as a new one; leave it out, or set it to 'own'"
                    )

    @property
    def shared_head(self) -> bool:
        """Whether one head learns on through all tasks."""
        return self.settings.sequence_head == 'shared'

    def answering(self, current: Variables, head: Variables) -> Variables:
        """The network as it answers a task that it learned before, with that head or the shared."""
        return current if self.shared_head else with_head(current, head)

    def group(self, arm: str) -> str:
        """No cells of a sequence share a program."""
        return ''

    def seconds(self, arm: str) -> float:
        """Of all tasks, as long as the first; a rough guess."""
        return len(self.settings.sequence) * super().seconds(arm)

    def overview(self, cell: tuple[str, float | None, int]) -> str:
        """What is trained on, task by task."""
        found = self.tasks(cell)
        return '\n'.join(f'{task}: {overview(data)}' for task, (_, data) in found.items())

    def prepared_of(self, config: Config, data: Splits) -> Prepared:
        """See CellRunner; as on the first task, which has no previous ones."""
        return prepare(config, data, self.opened_for(config, data), importance={})

    def identity(self, cell: tuple[str, float | None, int]) -> dict[str, object]:
        """What a cell is made from: the network on the first task, and the data of all."""
        found = self.tasks(cell)
        config, data = next(iter(found.values()))
        further = {task: data.fingerprint for task, (_, data) in found.items()}
        metrics = {self.settings.metric}
        return run_identity(self.prepared_of(config, data), further, metrics=metrics)

    def __call__(self, arm: str, rate: float | None, draw: int) -> dict[str, Any]:
        """The fields of a cell's row."""
        cell = arm, rate, draw
        identity, found = self.identity(cell), self.tasks(cell)
        before = {task: data_identity(data) for task, (_, data) in found.items()}
        try:
            row = self.learned(found)
        except (Diverged, NonFinitePredictions) as error:
            row = {'status': 'diverged', 'reason': str(error)}
        for task, (_, data) in found.items():
            check_unchanged(data, {'data': before[task]})
        of_splits = joint_splits(split_fields(data) for _, data in found.values())
        return {**row, **of_splits, 'identity': identity}

    def learned(self, tasks: Mapping[str, tuple[Config, Splits]]) -> dict[str, Any]:
        """One network through all tasks: scores of each, forgetting, costs."""
        metric = metric_of(self.settings.metric)
        known: dict[str, tuple[Prepared, Variables]] = {}
        tests: dict[str, dict[str, Mapping[str, Any]]] = {}
        validation: list[float | None] = []
        results: list[Mapping[str, Any]] = []
        current: Variables | None = None
        importance: Flat = {}
        for number, (task, (config, data)) in enumerate(tasks.items()):
            opened = open_network(config, data)
            prepared = prepare(config, data, opened, importance=dict(importance))
            if current is not None:
                start = carried(prepared.variables, current, task, self.shared_head)
                prepared = dataclasses.replace(prepared, variables=start)
            fitted, result = train(prepared, progress=False)
            current = fitted.variables
            known[task] = prepared, {key: of_head(current[key]) for key in current}
            last = number + 1 == len(tasks)
            if prepared.plan.reads_importance and not last:
                spec = dataclasses.replace(run_spec(prepared), variables=current)
                importance = added(importance, fisher_at(spec, prepared.plan))
            at_end = validated(prepared, current, fitted.validation, metric.name)
            validation.append(metric.value_in(at_end))
            results.append(result)
            tests[task] = {
                earlier: split_metrics(own, self.answering(current, head), 'test')
                for earlier, (own, head) in known.items()
            }
        scores = {
            last: {earlier: metric.value_in(found) for earlier, found in row.items()}
            for last, row in tests.items()
        }
        at_end = tests[last_of(tests)]
        ended = {'n': sum(int(found['n']) for found in at_end.values())}
        mean = mean_of(scores[last_of(scores)].values())
        numbers = {
            task: {metric.name: scores[last_of(scores)][task], 'n': found['n']}
            for task, found in at_end.items()
        }
        return finished_fields(
            {metric.name: mean_of(validation)},
            {**ended, metric.name: mean},
            numbers,
            scores=scores,
            forgetting=forgetting_after(scores, metric.higher_is_better),
            **{key: sum(result[key] for result in results) for key in SUMS},
            **{key: largest([result[key] for result in results]) for key in LARGEST},
            step_seconds_median=largest([r['step_seconds_median'] for r in results]),
            frozen_unchanged=all(result['frozen_unchanged'] for result in results),
            data_fingerprint=joint_hash(result['data_fingerprint'] for result in results),
            test_fingerprint=joint_hash(data.test.fingerprint for _, data in tasks.values()),
        )


def carried(
    new: Variables, before: Variables, task: str, shared_head: bool = False
) -> dict[str, Any]:
    """The variables of a new task, but the trunk, and a shared head, as the task before left them.

    Raises:
      UserError: they have other shapes there.
    """
    found = {}
    for kind, stages in new.items():
        kept = before.get(kind, {})
        fresh = () if shared_head else ('head',)
        for stage in stages:
            own = {path: np.shape(leaf) for path, leaf in flatten(stages[stage]).items()}
            had = {path: np.shape(leaf) for path, leaf in flatten(kept.get(stage, {})).items()}
            if stage not in fresh and own != had:
                told = 'share one network' + ('' if shared_head else ' but the head')
                raise UserError(
                    f'config.ablation.sequence: stage {stage!r} of the network of {task!r} is not '
                    f'that of the task before; tasks of this sequence {told}'
                )
        found[kind] = {s: stages[s] if s in fresh else kept[s] for s in stages}
    return found


def of_head(stages: Variables) -> dict[str, Any]:
    """The head's part of one kind of variables; {} where it has none."""
    return {name: leaves for name, leaves in stages.items() if name == 'head'}


def with_head(variables: Variables, head: Variables) -> dict[str, Any]:
    """Variables with another head."""
    return {
        kind: {**{s: leaves for s, leaves in stages.items() if s != 'head'}, **head.get(kind, {})}
        for kind, stages in variables.items()
    }


def added(one: Flat, other: Flat) -> Flat:
    """The importance of leaves for two tasks together; none of the head, which each task has."""
    trunk = {path: leaf for path, leaf in other.items() if not path.startswith('head/')}
    return {path: leaf + one.get(path, 0.0) for path, leaf in trunk.items()}


def largest(values: list[Any]) -> Any:
    """The largest of some numbers; None where one is not known."""
    return None if any(value is None for value in values) else max(values)


def last_of(given: Mapping[str, object]) -> str:
    """The last key."""
    return list(given)[-1]
