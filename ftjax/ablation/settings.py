"""What a config says about an ablation: `config.ablation`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from ftjax.ablation.budgets.budget import read_budget
from ftjax.ablation.budgets.device_settings import check_devices
from ftjax.ablation.gates.gates import check_gates
from ftjax.ablation.gates.given_gates import as_gates, check_groups
from ftjax.ablation.rates.choice import check_rates
from ftjax.ablation.rates.search_checks import check_search
from ftjax.ablation.retention.retention import Retention, retention_of
from ftjax.ablation.sequences.sequence_checks import check_sequence
from ftjax.ablation.statistics.row_types import Summary
from ftjax.errors import UserError, check_name, shown
from ftjax.field_types import check_fields
from ftjax.io.json.json_values import JsonObject
from ftjax.ranges import above, at_least
from ftjax.tasks import task_of
from ftjax.tasks.metrics import metric_of

OF_GRID = ('rates', 'devices_per_run')
"""Of an arm, what changes no config."""
GATES = ('gates', 'forgetting_gates', 'retention_gates')
"""Fields that hold gates of the whole ablation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """Arms x rates x seeds, and how they are compared."""

    arms: Summary
    """Name to a freezing strategy, or to changes of the config: {'init': 'random:glyphs'}.
    {'baseline': 'pixels'} is a logistic regression on the raw pixels, {'baseline': 'probe'} one
    on what the pretrained network gives its head, its penalty chosen by validation, {'baseline':
    {'name': 'head2toe', 'share': 0.1}} one on a chosen share of what all its stages give,
    {'baseline': 'pretrained'} the network as it was loaded; one with options is a mapping,
    {'baseline': {'name': .., ..}}; see ftjax/ablation/cells/baselines.py. An arm
    whose best rate lies elsewhere, a new head on frozen features say, may name a grid of its
    own, as long as the common one: {'freeze': 'head', 'rates': (3e-3, 1e-2, 3e-2)}."""
    rates: Annotated[tuple[float, ...], above(0)] = ()
    """Starting grid of learning rates of every arm that names none."""
    seeds: Annotated[tuple[int, ...], at_least(0)] = (0, 1, 2)
    """Each decides the split, the few-shot subset, the order and new weights, for all arms."""
    tuning_seeds: Annotated[int, at_least(0)] = 0
    """Seeds, the first ones, with which rates are tried; the others are run at the chosen rate
    alone, in a fraction of the time. 0 for all."""
    tasks: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Name to changes of the config, a grid each, in which every arm is tuned anew: data sets,
    shifts, numbers of examples, {'5 a class': {'data.examples_per_class': 5}}. {}: the config
    as it is."""
    sequence: tuple[str, ...] = ()
    """Tasks of `tasks` in the order in which one network learns them: a run goes through all,
    with a head a task or one (`sequence_head`), and is tested on every task so far after each.
    The rate is chosen by the mean validation score of each task as it was learned, the result is
    the mean test score at the end, and a table holds what was forgotten. (): every task by
    itself."""
    sequence_head: str = 'own'
    """Heads of a `sequence`: `own`, each task has one, which stays as it was when the next task
    began; `shared`, one head learns on through all tasks, which have equally many outputs."""
    tune: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What every arm chooses beside its rate, by validation: {'optimizer.weight_decay': (0.0,
    0.01), 'train.epochs': (5.0, 10.0)}. Each combination is run with each rate, unless `search`
    draws among them."""
    search: str = 'grid'
    """How rates and `tune` are searched: `grid`, all of them; or `trials` points of each arm,
    with rates between the lowest and the highest of its grid: `random`; `tpe`, which learns from
    those before; `halving`, random ones on a quarter of the steps, the better half of them on
    half, and of these the better half in full. All but `grid` need Optuna (ftjax[search])."""
    trials: Annotated[int, at_least(2)] = 8
    """Points that each arm tries where `search` draws them."""
    equal: str = 'steps'
    """What arms have alike: `steps`, as the config says; `compute`, so that each spends the
    FLOPs of the reference arm's steps, forward passes of frozen stages counted."""
    folds: Annotated[int, at_least(0)] = 0
    """Cross-validation: every seed is run with each of so many folds as its test split, and
    decides how the folds are cut; 0 for none."""
    also_evaluate: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further test sets, name to a source or to changes of config.data: {'upright': 'digits',
    'noisy': {'corruption': 'gaussian_noise:0.2'}}. Classes must be those of the task; with
    `'head': 'source'` beside, the classes and the head are those of the pretrained network, to
    see what of its first task it has forgotten; with `'head': 'vector'` and `'task':
    'text_similarity'`, what is measured are the vectors that reach the head. Files other than the
    task's are scored on their test split, or whole where they have none; with `'test_fraction':
    0.2` beside on such a part of them, drawn as the task's is, which suits a shifted copy of the
    task's own examples."""
    movement_on: Annotated[int, at_least(0, 'a number of examples')] = 0
    """Examples of each test set, at most, on which is measured how far what reaches the head
    moved from what the run began with; how far each stage's weights moved is noted too. 0 for
    neither."""
    unfamiliar_on: Annotated[int, at_least(0, 'a number of examples')] = 0
    """Examples of the training split, of the test split and of each of `also_evaluate`, at most,
    on which is measured how well a run's scores tell the further test sets from its own: the AUROC
    of the energy and of the Mahalanobis distance. It needs one class an example; baselines have no
    such scores. 0 for none."""
    retention: str = ''
    """Name in `also_evaluate` of what a network should still be able to do: the report then tells
    how far every arm changes the metric there against the network before anything was added, an
    arm {'baseline': 'pretrained'}. '' for none."""
    retention_metric: str = ''
    """Metric of `retention`, one that its task has; empty for `metric`."""
    retention_margin: Annotated[float | None, at_least(0)] = None
    """As `margin`, of changes of retention; None: that of the same metric, or of its range."""
    reference: str = ''
    """Arm the others are compared with; empty for the first."""
    metric: str = 'accuracy'
    """What chooses rates on validation data and is reported on test data, in its own direction:
    of 'mse', 'log_loss' or 'loss' the lowest is best. One that the task has; what a config does
    not name is the task's own default (`plan.py --list metric`)."""
    margin: Annotated[float | None, at_least(0)] = None
    """Differences up to this one, in the metric's own unit (0.01 of an accuracy is a point), do
    not matter: an arm whose interval lies within it is equivalent to the reference. None: a
    hundredth of the metric's range, or 0 where that has no bounds."""
    max_extra: Annotated[int, at_least(0)] = 6
    """Rounds of further rates, at most: while the best rate of any arm lies on the edge of what
    it tried, every arm gets one more. An arm whose best is on the edge even then is marked, and
    is in no sentence on the best."""
    budget: str = ''
    """What may be spent, '30 min', '2e15 flops' or '60 runs'; empty for the full grid. Within it
    arms race: rates are chosen with the first seeds, then seeds, those named at most, go to the
    arms whose verdict against the reference is open. See ftjax/ablation/racing/race.py."""
    devices_per_run: Annotated[float | None, above(0)] = None
    """Devices that each run gets on a Ray cluster: 0.25 where four runs share one, 2 for leaves in
    parts over two of one machine; an arm may say its own, {'freeze': 'head', 'devices_per_run':
    0.25}. None: as the forecast of its memory says. It decides no row."""
    device_memory: str = ''
    """Of each device of a Ray cluster, '16GiB', to place runs by; '' for what devices report."""
    question: str = ''
    gates: tuple[tuple[str, ...], ...] = ()
    """Orderings that must come out, (rule, arm, ..) each; see ftjax/ablation/gates/gates.py."""
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Name to tasks, or to further test sets, that are judged together, by their mean."""
    group_gates: Mapping[str, tuple[tuple[str, ...], ...]] = dataclasses.field(default_factory=dict)
    """Group to its gates, as `gates`."""
    forgetting_gates: tuple[tuple[str, ...], ...] = ()
    """As `gates`, on what arms forgot after the last task of a `sequence`: an arm that forgets less
    is above."""
    retention_gates: tuple[tuple[str, ...], ...] = ()
    """As `gates`, on the metric of `retention`: an arm that keeps more is above."""
    reports: tuple[str, ...] = ()
    """Verdicts, each by the words that it begins with, that are told and not judged: published
    gates of which this ablation is no test. A note should say why."""
    notes: tuple[str, ...] = ()
    """Caveats of this ablation, what was reduced say; they stand beside the table."""

    def __post_init__(self):
        check_fields(AblationSettings, vars(self), 'config.ablation')
        object.__setattr__(self, 'rates', tuple(float(rate) for rate in self.rates))
        object.__setattr__(self, 'seeds', tuple(self.seeds))
        if not self.arms:
            raise UserError('config.ablation.arms names no arm')
        for arm, given in self.arms.items():
            if not isinstance(given, (str, Mapping)) or not given:
                raise UserError(
                    f'config.ablation.arms: {shown(arm)} is {shown(given)}; expected a strategy '
                    "('head') or changes of the config ({'freeze': 'head'})"
                )
            self._check_grid(arm)
        if self.tuned and not self.rates:
            raise UserError('config.ablation.rates is missing: learning rates above 0')
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError('config.ablation.seeds must be different whole numbers')
        if self.folds == 1:
            raise UserError('config.ablation.folds is 1; expected 0, or 2 or more')
        for name, given in self.also_evaluate.items():
            if not isinstance(given, (str, Mapping)) or not given:
                raise UserError(
                    f'config.ablation.also_evaluate: {shown(name)} is {shown(given)}; expected a '
                    "source ('digits') or changes of config.data ({'source': 'digits'})"
                )
        metric_of(self.metric, 'config.ablation.metric:')
        if self.unfamiliar_on and not self.also_evaluate:
            raise UserError(
                'config.ablation.unfamiliar_on needs test sets to tell from the own one: name some '
                'in config.ablation.also_evaluate'
            )
        if self.budget:
            self._check_race()
        object.__setattr__(self, 'sequence', check_sequence(vars(self), self.tuned))
        if self.reference:
            check_name(self.reference, self.arms, 'reference arm')
        for name in GATES:
            object.__setattr__(self, name, as_gates(getattr(self, name), name))
            check_gates(getattr(self, name), list(self.arms), name)
        for name in ('notes', 'reports'):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_groups(vars(self))
        self.retention_asked  # noqa: B018 (raises where it cannot be)
        changes = {arm: self.changes(arm) for arm in self.tuned}
        check_search(vars(self), self.grids, changes)
        check_devices(self.device_memory, {arm: self.devices_of(arm) for arm in self.arms})
        for name, changes in self.tasks.items():
            if not isinstance(changes, Mapping) or not changes:
                raise UserError(
                    f'config.ablation.tasks: {shown(name)} is {shown(changes)}; expected changes '
                    "of the config ({'data.examples_per_class': 5})"
                )

    @property
    def draws(self) -> tuple[int, ...]:
        """What a row calls its seed: the seeds, or a number for each (seed, fold)."""
        if not self.folds:
            return self.seeds
        return tuple(seed * self.folds + fold for seed in self.seeds for fold in range(self.folds))

    @property
    def tuning_draws(self) -> tuple[int, ...]:
        """Those of `draws` with which every rate is tried."""
        return self.draws[: self.tuning_seeds * (self.folds or 1) or None]

    def seed_and_fold(self, draw: int) -> tuple[int, int | None]:
        """The seed of a draw, and its fold where there are folds."""
        return divmod(draw, self.folds) if self.folds else (draw, None)

    @property
    def rows_hold(self) -> dict[str, object]:
        """What decides the rows besides arms and config, where it is given."""
        named = ('folds', 'also_evaluate', 'movement_on', 'unfamiliar_on')
        given = {name: getattr(self, name) for name in named}
        if self.sequence:
            # Pairs, because the order decides the rows.
            given['sequence'] = [(task, dict(self.tasks[task])) for task in self.sequence]
            given['sequence_head'] = '' if self.sequence_head == 'own' else self.sequence_head
        return {key: value for key, value in given.items() if value}

    @property
    def tuned(self) -> tuple[str, ...]:
        """The arms that have a learning rate to tune."""
        return tuple(name for name in self.arms if 'baseline' not in self.changes(name))

    @property
    def outside_prior(self) -> tuple[str, ...]:
        """The arms whose noise tells nothing of the others': baselines, random weights."""
        changes = {name: self.changes(name) for name in self.arms}
        return tuple(
            name
            for name, given in changes.items()
            if 'baseline' in given or str(given.get('init', '')).startswith('random:')
        )

    @property
    def retention_asked(self) -> Retention | None:
        """Where it is judged what a network keeps; None where nothing asks."""
        return retention_of(vars(self), {arm: self.changes(arm) for arm in self.arms})

    @property
    def grids(self) -> dict[str, tuple[float, ...]]:
        """The starting grid of every arm that has a rate to tune; all are of one length."""
        return {arm: self._own_rates(arm) or self.rates for arm in self.tuned}

    def changes(self, arm: str) -> dict[str, Any]:
        """What an arm changes in the config."""
        given = self.arms[arm]
        if isinstance(given, str):
            return {'freeze': given}
        return {key: value for key, value in given.items() if key not in OF_GRID}

    def devices_of(self, arm: str) -> float | None:
        """Devices that the config gives to each run of an arm; None where it leaves them open."""
        given = self.arms[arm]
        own = None if isinstance(given, str) else given.get('devices_per_run')
        return self.devices_per_run if own is None else own

    def _check_race(self) -> None:
        read_budget(self.budget, 'config.ablation.budget')
        others = {'tune': self.tune, 'folds': self.folds, 'search': self.search != 'grid'}
        others |= {name: getattr(self, name) for name in (*GATES, 'group_gates')}
        for name, given in others.items():
            if given:
                raise UserError(
                    f'config.ablation.budget does not go with config.ablation.{name}: a race tunes '
                    'rates alone, compares arms on seeds, and its looks leave no alpha for gates'
                )
        if len(self.seeds) < 2:
            raise UserError(
                'config.ablation.budget needs seeds to add: name 2 or more in config.ablation.seeds'
            )

    def _own_rates(self, arm: str) -> tuple[float, ...] | None:
        given = self.arms[arm]
        own = None if isinstance(given, str) else given.get('rates')
        return tuple(own) if isinstance(own, list) else own

    def _check_grid(self, arm: str) -> None:
        own = self._own_rates(arm)
        if own is None:
            return
        if arm not in self.tuned:
            raise UserError(f'config.ablation.arms: {arm!r} is a baseline and has no rates')
        check_fields(AblationSettings, {'rates': own}, f'config.ablation.arms.{arm}')
        check_rates(own)
        if len(own) != len(self.rates):
            raise UserError(
                f'config.ablation.arms: {arm!r} has {len(own)} rates and the others '
                f'{len(self.rates)}; arms are compared after equally many trials'
            )


def read_ablation(values: JsonObject, task: str = '') -> AblationSettings:
    """AblationSettings from a config's section; raises UserError for an unknown key.

    Args:
      values: the section.
      task: the config's; its default metric decides where the section names none.
    """
    known = [field.name for field in dataclasses.fields(AblationSettings)]
    for key in values:
        check_name(key, known, 'key of config.ablation:')
    if 'arms' not in values:
        raise UserError('config.ablation.arms is missing')
    if task and 'metric' not in values:
        values = {**values, 'metric': task_of(task).default_metric}
    return AblationSettings(**values)
