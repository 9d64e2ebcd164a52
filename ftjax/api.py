"""One run from a config to a result: what the scripts, ablations and Python API share."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from ftjax.ablation.baselines import pixel_regression
from ftjax.config import Config, merged, read_config
from ftjax.data import Splits, eval_batches, load_data
from ftjax.errors import UserError, check_name
from ftjax.evaluation import evaluate
from ftjax.evaluation.predictions import NonFinitePredictions, gather
from ftjax.freezing.plan import Plan, make_plan
from ftjax.freezing.table import plan_table
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own import save_own
from ftjax.pretrained.preprocessing import Preprocessing
from ftjax.training.atomic import read_json, write_json
from ftjax.training.fit import Diverged, FitResult, fit
from ftjax.training.predict import predict
from ftjax.training.provenance import peak_memory, provenance, versions


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Everything a run needs, decided and loaded; nothing trained yet."""

    config: Config
    data: Splits
    network: Network
    variables: dict[str, Any]
    preprocessing: Preprocessing | None
    load_report: dict[str, Any]
    plan: Plan

    def table(self) -> str:
        """The plan as text."""
        return plan_table(self.plan, self.config.optimizer.learning_rate)


def prepare(config: Config, data: Splits | None = None) -> Prepared:
    """Config → data → network → pretrained variables → plan.

    Raises UserError for whatever in the config, the data or the checkpoint is wrong.
    """
    data = data if data is not None else load_data(config.data)
    classes = len(data.class_names) if data.task == 'classification' else 1
    options = dict(config.model)
    if config.init:
        pretrained = load_pretrained(
            config.init,
            num_classes=classes,
            class_names=data.class_names or None,
            image_size=config.data.image_size,
            seed=config.seed,
            options=options or None,
        )
        network, variables = pretrained.network, pretrained.variables
        preprocessing = pretrained.preprocessing
        report, head_is_new = pretrained.report.to_json(), pretrained.report.head != 'kept'
    else:
        name = options.pop('name', None)
        if name is None:
            raise UserError("config.init is empty and config.model.name says no network: 'vit'?")
        network = build(name, {**options, 'num_classes': classes})
        variables = random_variables(network, config.seed)
        preprocessing = standard_preprocessing(network)
        report, head_is_new = {'initialised': f'all of {name}, at random'}, True
    plan = make_plan(config.freeze, network, variables, head_is_new=head_is_new)
    return Prepared(config, data, network, variables, preprocessing, report, plan)


def standard_preprocessing(network: Network) -> Preprocessing:
    """For a network that came without one: its own size, pixels to [-1, 1]."""
    height, width, channels = network.example_input().shape[1:]
    half = (0.5,) * channels
    return Preprocessing(image_size=(height, width), mean=half, std=half, channels=channels)


def train(
    prepared: Prepared, workdir: str | pathlib.Path | None = None, progress: bool = True
) -> tuple[FitResult, dict[str, Any]]:
    """Fits, evaluates on the test split, and writes the run's folder if there is to be one.

    Returns the fit and what result.json holds.
    """
    config, data = prepared.config, prepared.data
    folder = pathlib.Path(workdir) if workdir is not None else None
    if folder is not None:
        start_folder(folder, prepared)
    result = fit(
        prepared.network,
        prepared.variables,
        prepared.plan,
        data,
        optimizer=config.optimizer,
        schedule=config.schedule,
        settings=config.train,
        preprocessing=prepared.preprocessing,
        batch_size=config.data.batch_size,
        eval_batch_size=config.data.eval_batch_size,
        augmentation=config.data.augment,
        image_size=config.data.image_size,
        seed=config.seed,
        workdir=folder,
        progress=progress,
    )
    metrics = split_metrics(prepared, result.variables)
    phase = prepared.plan.at(0)
    summary = {
        'metrics': metrics,
        'validation': result.validation,
        'strategy': prepared.plan.strategy,
        'params_total': phase.size(),
        'params_trainable': phase.size(trainable_only=True),
        'optimizer_bytes': result.optimizer_bytes,
        'step_flops': result.step_flops,
        'step_seconds_median': result.step_seconds_median,
        'compile_seconds': result.compile_seconds,
        'wall_seconds': result.wall_seconds,
        'peak_memory_bytes': peak_memory()['host_bytes'],
        'steps': result.steps,
        'best_step': result.best_step,
        'frozen_unchanged': result.verification.frozen_unchanged,
        'trainable_changed': result.verification.trainable_changed,
        'moved_frozen': list(result.verification.moved_frozen),
        'still_trainable': list(result.verification.still_trainable),
        'seed': config.seed,
        'data_fingerprint': data.fingerprint,
        'versions': versions(),
    }
    if folder is not None:
        save_own(
            folder / 'model',
            prepared.network,
            result.variables,
            prepared.preprocessing,
            data.class_names,
            {'init': config.init, 'strategy': prepared.plan.strategy},
        )
        write_json(folder / 'result.json', {**summary, 'provenance': provenance()})
    return result, summary


def start_folder(folder: pathlib.Path, prepared: Prepared) -> None:
    """Writes what is decided before training; refuses a folder that holds another run."""
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / 'config.json'
    config = prepared.config.to_json()
    if known.exists() and read_config(read_json(known)) != read_config(config):
        raise UserError(f'{folder} holds a run of another config; choose another --workdir')
    write_json(known, config)
    write_json(folder / 'plan.json', prepared.plan.to_json())
    write_json(folder / 'load_report.json', prepared.load_report)


def split_metrics(prepared: Prepared, variables: dict[str, Any], split: str = 'test'):
    """Metrics of a split, on whole arrays."""
    dataset = getattr(prepared.data, split)
    batches = eval_batches(
        dataset,
        prepared.config.data.eval_batch_size,
        prepared.config.data.image_size,
        prepared.preprocessing,
    )
    outputs = predict(prepared.network, variables, batches, prepared.preprocessing)
    found = gather(outputs)
    return evaluate(
        found.outputs, found.labels, task=dataset.task, class_names=dataset.class_names or None
    )


class Finetuning:
    """A run in Python: show the plan, run, evaluate, report.

    >>> run = finetune(
    ...     'random:glyphs',
    ...     'digits:scattered',
    ...     freeze='head',
    ...     train={'steps': 2},
    ...     data_settings={'examples_per_class': 2},
    ... )
    >>> print(run.plan().split(chr(10))[0])
    freeze = 'head', from step 0
    """

    def __init__(self, config: Config, data: Splits | None = None):
        self.config = config
        self.prepared = prepare(config, data)
        self.result: dict[str, Any] | None = None
        self.variables = self.prepared.variables

    def plan(self) -> str:
        """The plan's table."""
        return self.prepared.table()

    def run(self, workdir: str | pathlib.Path | None = None, progress: bool = True) -> Finetuning:
        """Trains; returns itself."""
        fitted, self.result = train(self.prepared, workdir, progress)
        self.variables = fitted.variables
        return self

    def evaluate(self, split: str = 'test') -> dict[str, Any]:
        """Metrics of a split with the weights as they are now."""
        return split_metrics(self.prepared, self.variables, split)


def finetune(model: str, data: str | Splits, *, freeze: Any = 'full', **config: Any) -> Finetuning:
    """Fine-tuning in four lines: `finetune('glyphs', 'digits', freeze='last:2').run()`.

    Args:
      model: what `config.init` takes.
      data: what `config.data.source` takes, or Splits.
      freeze: what `config.freeze` takes.
      **config: other sections as dicts; `data_settings` for those of `config.data`,
        `model_options` for those of `config.model`.
    """
    settings = dict(config.pop('data_settings', {}))
    if 'model_options' in config:
        config['model'] = config.pop('model_options')
    if isinstance(data, str):
        settings['source'] = data
    values = {'init': model, 'freeze': freeze, 'data': settings, **config}
    return Finetuning(read_config(values), None if isinstance(data, str) else data)


def cell_runner(values: dict[str, Any], settings: Any):
    """`execute(arm, rate, seed)` for `run_grid`: one cell of an ablation, as a row's fields.

    Args:
      values: the config shared by all arms, as plain dicts.
      settings: AblationSettings.
    """
    splits: dict[Any, Splits] = {}

    def data_of(config: Config) -> Splits:
        if config.data not in splits:
            splits.clear()  # one at a time: cells come seed by seed, data sets may be large
            splits[config.data] = load_data(config.data)
        return splits[config.data]

    def execute(arm: str, rate: float | None, seed: int) -> dict[str, Any]:
        changes = settings.changes(arm)
        baseline = changes.pop('baseline', None)
        seeds = {'seed': seed, 'data.seed': seed}
        tuned = {} if rate is None else {'optimizer.learning_rate': rate}
        config = read_config(merged(values, {**changes, **seeds, **tuned}))
        data = data_of(config)
        if baseline is not None:
            return baseline_row(baseline, data)
        try:
            fitted, result = train(prepare(config, data), progress=False)
        except (Diverged, NonFinitePredictions) as error:
            return {'status': 'diverged', 'reason': str(error)}
        kept = ('params_total', 'params_trainable', 'optimizer_bytes', 'step_flops')
        return {
            'status': 'ok',
            'val': {k: v for k, v in fitted.validation.items() if k != 'score'},
            'test': numbers_of(result['metrics']),
            **{key: result[key] for key in kept},
            **{key: result[key] for key in ('wall_seconds', 'step_seconds_median')},
            'frozen_unchanged': result['frozen_unchanged'],
            'best_step': result['best_step'],
            'data_fingerprint': result['data_fingerprint'],
        }

    return execute


def baseline_row(name: str, data: Splits) -> dict[str, Any]:
    """The row of an arm without a network."""
    check_name(name, ('pixels',), 'baseline')
    parts = [(part.inputs, part.labels) for part in (data.train, data.val, data.test)]
    outputs, accuracy, penalty = pixel_regression(*parts)
    return {
        'status': 'ok',
        'val': {'accuracy': accuracy},
        'test': numbers_of(evaluate(outputs, data.test.labels, class_names=data.class_names)),
        'penalty': penalty,
    }


def numbers_of(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that are single numbers."""
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
