"""One cell of an ablation: an arm at a rate and a seed, run and reduced to a row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from ftjax.ablation.cells.baselines import Baseline, baseline_of
from ftjax.ablation.cells.estimate import Survey, forward_seconds, survey
from ftjax.ablation.cells.extra_test_sets import further_dataset, further_tests
from ftjax.ablation.cells.movement import chosen_weights, movement_fields
from ftjax.ablation.cells.row import finished_fields, validated
from ftjax.ablation.cells.unfamiliar import check_unfamiliar, unfamiliar_fields
from ftjax.ablation.cells.vmapped_cells import run_together
from ftjax.ablation.grid.equal_compute import Length
from ftjax.ablation.settings import AblationSettings
from ftjax.config import Config, merged, read_config
from ftjax.data import Splits, load_data
from ftjax.data.audit.overview import overview
from ftjax.data.audit.quick import quick_audit
from ftjax.errors import UserError
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.io.json.json_values import JsonObject
from ftjax.runs.identity import baseline_identity, data_changed, run_identity
from ftjax.runs.network_opening import Opened, open_network, what_opens
from ftjax.runs.prepare import Prepared, prepare
from ftjax.runs.run import train
from ftjax.runs.run_spec import run_spec
from ftjax.tasks.metrics import check_metric
from ftjax.training.cost.cost import plan_cost
from ftjax.training.loop.fit import Diverged

KnownSplits = dict[str, Splits]
"""What was read last: the settings of the data, as text, to its splits."""


class CellRunner:
    """What `run_grid` needs to know of cells: how one is run, or several together.

    A row is a function of the config, the settings and the cell alone. What is pickled is these:
    a worker reads the data itself.
    """

    def __init__(
        self,
        values: Mapping[str, object],
        settings: AblationSettings,
        known: KnownSplits | None = None,
    ):
        """For the config that all arms share, as plain dicts.

        Args:
          values: the config.
          settings: the grid.
          known: data that another runner has read; it is shared with that one from now on.
        """
        self.values, self.settings = dict(values), settings
        self._splits: KnownSplits = {} if known is None else known
        self._opened: tuple[object, Opened] | None = None
        self._surveys: dict[str, Survey] = {}
        self._forward: dict[tuple[str, str], float] = {}

    def __reduce__(self):
        return CellRunner, (self.values, self.settings)

    def config_of(self, arm: str, rate: float | None, draw: int) -> Config:
        """The config of a cell."""
        seed, fold = self.settings.seed_and_fold(draw)
        changes: dict[str, object] = {'seed': seed, 'data.seed': seed}
        if fold is not None:
            changes |= {'data.folds': self.settings.folds, 'data.fold': fold}
        if rate is not None:
            changes['optimizer.learning_rate'] = rate
        arm_changes, baseline = self.settings.changes(arm), self.baseline(arm)
        arm_changes.pop('baseline', None)
        if baseline is not None:
            arm_changes = {**baseline.changes, **arm_changes}
        return read_config(merged(self.values, {**arm_changes, **changes}))

    def data_of(self, config: Config) -> Splits:
        """The data of a cell; one data set is kept, because cells come seed by seed."""
        known = repr(config.data)
        if known not in self._splits:
            self._splits.clear()  # room first: data sets may be large
            self._splits[known] = load_data(config.data)
        return self._splits[known]

    def check(self) -> None:
        """Looks at the data of every arm, before anything is run.

        Raises:
          UserError: the task has no such metric, no examples to choose rates and penalties by,
            or none to be tested on; a baseline that is not known, or not for this task or config.
        """
        settings = self.settings
        for arm in settings.arms:
            rates = settings.grids.get(arm, ())
            config = self.config_of(arm, rates[0] if rates else None, settings.draws[0])
            baseline = self.baseline(arm)
            if config.train.threshold and baseline is not None and not baseline.network:
                raise UserError(
                    f'arm {arm!r} is a baseline without a network, which train.threshold does not '
                    'reach: its answers would not compare with those of the others; leave out one '
                    'of the two'
                )
            data = self.data_of(config)
            where = 'config.ablation.metric:'
            check_metric(settings.metric, data.task, data.num_outputs, where)
            if settings.unfamiliar_on:
                check_unfamiliar(data)
            if not len(data.val):
                raise UserError(
                    f'arm {arm!r} is tuned by validation, and {data.val.name} holds no examples: '
                    'give it some (data.val_fraction, data.val_per_class)'
                )
            if not len(data.test):
                raise UserError(
                    f'arm {arm!r} cannot be tested: {data.test.name} holds no examples; give it '
                    'some (data.test_fraction)'
                )
            if baseline is not None:
                baseline.check(data, self.prepared_for(baseline, config, data), settings)

    def prepared(self, arm: str, rate: float | None, draw: int) -> Prepared:
        """Everything that the run of a cell needs."""
        config = self.config_of(arm, rate, draw)
        return self.prepared_of(config, self.data_of(config))

    def prepared_of(self, config: Config, data: Splits) -> Prepared:
        """As `prepare`, with the network of the cell before where it is the same."""
        return prepare(config, data, self.opened_for(config, data))

    def opened_for(self, config: Config, data: Splits) -> Opened:
        """The network of a config, that of the cell before where it is the same."""
        key = what_opens(config, data)
        if self._opened is None or self._opened[0] != key:
            self._opened = None  # room first
            self._opened = key, open_network(config, data)
        return self._opened[1]

    def baseline(self, arm: str) -> Baseline | None:
        """The baseline that an arm is, if it is one."""
        return baseline_of(self.settings, arm)

    def prepared_for(
        self, baseline: Baseline | None, config: Config, data: Splits
    ) -> Prepared | None:
        """As `prepared_of`; None for a baseline without a network."""
        needed = baseline is None or baseline.network
        return self.prepared_of(config, data) if needed else None

    def identity_key(self, cell: tuple[str, float | None, int]) -> Hashable:
        """Equal for cells of the same data and pretrained weights."""
        arm, _, draw = cell
        config = self.config_of(arm, None, draw)
        return repr((config.data, config.init, config.model_options, config.seed))

    def identity(self, cell: tuple[str, float | None, int]) -> dict[str, object]:
        """What a cell is made from."""
        arm, _, _ = cell
        config = self.config_of(*cell)
        data = self.data_of(config)
        baseline = self.baseline(arm)
        return self.identity_of(self.prepared_for(baseline, config, data), data, baseline)

    def identity_of(
        self, prepared: Prepared | None, data: Splits, baseline: Baseline | None = None
    ) -> dict[str, object]:
        """What a run of the grid is made from, its further test sets included."""
        if prepared is None:
            return baseline_identity(data, baseline)
        further = {
            name: further_dataset(prepared.config.data, name, given).fingerprint
            for name, given in self.settings.also_evaluate.items()
        }
        metrics = {self.settings.metric, self.settings.retention_metric}
        return run_identity(prepared, further, metrics=metrics, baseline=baseline)

    def __call__(self, arm: str, rate: float | None, draw: int) -> dict[str, Any]:
        """The fields of a cell's row.

        Raises:
          UserError: a mistake, or data that changed while the cell was run.
        """
        config = self.config_of(arm, rate, draw)
        data = self.data_of(config)
        folds = {'fold': config.data.fold} if config.data.folds else {}
        baseline = self.baseline(arm)
        prepared = self.prepared_for(baseline, config, data)
        identity = self.identity_of(prepared, data, baseline)
        if baseline is not None:
            row = baseline.row(data, prepared, self.settings)
        else:
            assert prepared is not None
            row = self.trained_row(prepared)
        check_unchanged(data, identity)
        return {**row, **folds, **split_fields(data), 'identity': identity}

    def trained_row(self, prepared: Prepared) -> dict[str, Any]:
        """What the run of a cell gives."""
        tests = further_tests(prepared, self.settings.also_evaluate)
        try:
            fitted, result = train(prepared, progress=False)
            at = result['metrics'].get('threshold')
            shifts = {test.name: test.metrics(fitted.variables, at) for test in tests}
            validation = validated(
                prepared, fitted.variables, fitted.validation, self.settings.metric
            )
            unfamiliar = unfamiliar_fields(
                prepared, fitted.variables, tests, self.settings.unfamiliar_on
            )
        except (Diverged, NonFinitePredictions) as error:
            return {'status': 'diverged', 'reason': str(error)}
        moved = movement_fields(prepared, fitted.variables, tests, self.settings.movement_on)
        kept = (
            *('params_total', 'params_trainable', 'optimizer_bytes', 'step_flops'),
            *('step_bytes', 'steps'),
            *('wall_seconds', 'step_seconds_median', 'frozen_unchanged', 'best_step'),
            'data_fingerprint',
        )
        return finished_fields(
            validation,
            result['metrics'],
            shifts,
            test_fingerprint=prepared.data.test.fingerprint,
            **{key: result[key] for key in kept},
            **moved,
            **unfamiliar,
            **chosen_weights(prepared.network, fitted.plan.choices),
        )

    def together(self, job: tuple[tuple[str, float | None, int], ...]) -> list[dict[str, Any]]:
        """The fields of the rows of cells of a seed that share a program, or their work."""
        if self.baseline(job[0][0]) is not None:
            return [self(*cell) for cell in job]
        prepared = self.prepared(*job[0])
        identity = self.identity_of(prepared, prepared.data)
        rates = [rate for _, rate, _ in job if rate is not None]
        rows = run_together(prepared, rates, self.settings)
        folds = {'fold': prepared.config.data.fold} if prepared.config.data.folds else {}
        check_unchanged(prepared.data, identity)
        of_splits = split_fields(prepared.data)
        return [{**row, **folds, **of_splits, 'identity': identity} for row in rows]

    def overview(self, cell: tuple[str, float | None, int]) -> str:
        """What a cell is trained on: sizes, classes, notes."""
        return overview(self.data_of(self.config_of(*cell)))

    def survey(self, arm: str) -> Survey:
        """What a run of an arm takes, and whether several can share a program."""
        if arm not in self._surveys:
            (rate, *_) = self.settings.grids.get(arm, (None,))
            prepared = self.prepared(arm, rate, self.settings.draws[0])
            # Added parameters change little, and each network would be compiled for it.
            key = prepared.config.init.removeprefix('random:'), repr(prepared.config.model_options)
            if key not in self._forward:
                self._forward[key] = forward_seconds(prepared)
            self._surveys[arm] = survey(prepared, self._forward[key])
        return self._surveys[arm]

    def length(self, arm: str) -> Length:
        """How long a run of an arm is, in steps and FLOPs; its steps are compiled for that."""
        prepared = self.prepared(arm, self.settings.grids[arm][0], self.settings.draws[0])
        config, steps = prepared.config, prepared.run_length.steps
        cost = plan_cost(run_spec(prepared))
        return Length(steps, cost.flops, config.train.eval_every)

    def seconds(self, arm: str) -> float:
        """Of a run of an arm, compilation apart; a rough guess."""
        baseline = self.baseline(arm)
        runs = 1.0 if baseline is None else baseline.runs
        return runs * self.survey(arm).seconds if runs else 1.0

    def group(self, arm: str) -> str:
        """A name that arms have in common whose cells of a seed share a job; '' for none."""
        baseline = self.baseline(arm)
        if baseline is not None:
            return baseline.group
        return '' if self.survey(arm).alone else arm


def split_fields(data: Splits) -> dict[str, object]:
    """Of the splits, for a row: sizes, what guessing gives, test examples that train too."""
    found = quick_audit(data).leaks().get('test')
    sizes = {'train': len(data.train), 'val': len(data.val), 'test': len(data.test)}
    fields: dict[str, object] = {'sizes': sizes, **({'leaks': found} if found else {})}
    if data.label_kind.one_class and len(data.test):
        counts = np.unique(np.asarray(data.test.labels), return_counts=True)[1]
        majority = float(counts.max() / counts.sum())
        fields['guessing'] = {'classes': data.num_outputs, 'majority': majority}
    return fields


def check_unchanged(data: Splits, identity: JsonObject) -> None:
    """UserError if files of the data changed since an identity was taken: no row is of both."""
    changed = data_changed(data, identity)
    if changed:
        raise UserError(changed)
