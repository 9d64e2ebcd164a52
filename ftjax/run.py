"""A run from what is prepared to a result and a folder that holds all of it."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from ftjax.ablation.figures_heat import choices_over_time
from ftjax.config import Config, config_differences, read_config
from ftjax.data import EvalBatches, Splits, TrainStream, eval_batches
from ftjax.data.audit.overview import findings, sizes
from ftjax.data.dataset import MASKED_TOKENS
from ftjax.errors import UserError
from ftjax.evaluation import evaluate
from ftjax.evaluation.masked_tokens import masked_token_metrics
from ftjax.evaluation.predictions import gather
from ftjax.freezing.plan import Plan
from ftjax.io.identity import FILE, differences, refused
from ftjax.io.owned_files import check_way
from ftjax.models.stages import Network
from ftjax.plotting.save import save_figure
from ftjax.preparation import Prepared
from ftjax.pretrained.own import save_description, save_own
from ftjax.pretrained.preprocessing import Preprocessing
from ftjax.pretrained.text_preprocessing import TextPreprocessing
from ftjax.runs.identity import data_changed, flat_config, run_identity, weights_identity
from ftjax.training import processes
from ftjax.training.atomic import read_json, write_json
from ftjax.training.fit import FitResult, fit
from ftjax.training.layout import Layout
from ftjax.training.lock import run_lock
from ftjax.training.logs import read_jsonl
from ftjax.training.norm_statistics import recomputed
from ftjax.training.plan_change import FLAG, PlanChange
from ftjax.training.predict import predict
from ftjax.training.provenance import peak_memory, provenance, versions
from ftjax.training.run_identity import RunIdentity, saved_identity
from ftjax.training.validation import score
from ftjax.training.weight_space import fit_averaged

_log = logging.getLogger(__name__)
PLACES = ('mesh', 'mesh_rules')
NOTHING_MEASURED = {'n': 0}
"""The metrics of a run without a test split (data.test_fraction=0)."""
FOLDERS = ('checkpoints', 'model', 'network', 'profile')
"""What a run makes in its folder."""
PLAN_SECTIONS = ('freeze', 'optimizer', 'schedule', 'train')
"""Parts of a config that a run may go on under other values of, if that is asked for."""


def train(
    prepared: Prepared,
    workdir: str | pathlib.Path | None = None,
    progress: bool = True,
    allow_plan_change: bool = False,
    profile: int = 0,
    allow: Collection[str] = (),
) -> tuple[FitResult, dict[str, Any]]:
    """Fits, evaluates on the test split, and writes the run's folder if there is to be one.

    The folder is locked meanwhile. Returns the fit and what result.json holds.

    Args:
      prepared: the run.
      workdir: its folder; an interrupted run in it goes on.
      progress: whether it is shown.
      allow_plan_change: go on although what trains, or how, is no longer what it was.
      profile: steps to trace into the folder's `profile`; 0 for none.
      allow: of 'data', 'weights' and 'code', what may be another than the interrupted run had.

    Where the data's files have changed meanwhile, `data_changed` of the result says so.

    Raises:
      UserError: the folder is in use, holds another run, a run on other data, weights or code, or
        cannot be written to.
    """
    inputs = processes.from_first(lambda: run_identity(prepared))
    if workdir is None:
        return in_folder(prepared, None, progress, PlanChange(), inputs)
    folder, config = pathlib.Path(workdir), prepared.config
    with run_lock(folder, enabled=processes.first()):
        identity = identity_of_run(config, inputs, allow)
        processes.same_everywhere('config', config.to_json())
        processes.same_everywhere('data set', prepared.data.fingerprint)
        exact = {k: v for k, v in weights_identity(prepared).items() if k != 'random'}
        processes.same_everywhere('network or pretrained weights', exact)
        change = PlanChange(
            **processes.from_first(
                lambda: dataclasses.asdict(
                    start_folder(folder, prepared, allow_plan_change, identity)
                )
            )
        )
        return in_folder(prepared, folder, progress, change, inputs, profile, allow)


def in_folder(
    prepared: Prepared,
    folder: pathlib.Path | None,
    progress: bool,
    change: PlanChange,
    inputs: Mapping[str, Any],
    profile: int = 0,
    allow: Collection[str] = (),
) -> tuple[FitResult, dict[str, Any]]:
    """What `train` does once the folder is its own."""
    config, data = prepared.config, prepared.data
    network, preprocessing = prepared.network, prepared.preprocessing
    layout = layout_of(prepared)

    def run(seed: int, factor: float, inside: pathlib.Path | None) -> FitResult:
        rate = config.optimizer.learning_rate * factor
        own = dataclasses.replace(config.optimizer, learning_rate=rate)
        identity = identity_of_run(
            dataclasses.replace(config, seed=seed, optimizer=own), inputs, allow
        )
        return fit(
            network,
            prepared.variables,
            prepared.plan,
            data,
            optimizer=own,
            schedule=config.schedule,
            settings=config.train,
            preprocessing=preprocessing,
            batch_size=config.data.batch_size,
            eval_batch_size=config.data.eval_batch_size,
            augmentation=config.data.augment,
            image_size=config.data.image_size,
            seed=seed,
            workdir=inside,
            progress=progress,
            plan_change=change,
            profile=profile,
            layout=layout,
            identity=identity,
        )

    def validate(variables: Any) -> dict[str, float]:
        batches = split_batches(data, 'val', config, preprocessing)
        return score(predict(network, variables, batches, preprocessing), data.task)

    def settle(variables: Any, stages: Collection[str]) -> dict[str, Any]:
        size = config.data.image_size
        stream = TrainStream(data.train, config.data.batch_size, config.seed, size, preprocessing)
        batches = (stream.batch(n)['inputs'] for n in range(stream.steps_per_epoch))
        return recomputed(network, variables, batches, preprocessing, stages)

    result, averaged = fit_averaged(
        run, prepared.variables, prepared.plan, config.seed, folder, validate, settle
    )
    metrics = NOTHING_MEASURED | {'task': data.task}
    if len(data.test):
        metrics = split_metrics(prepared, result.variables)
    plan = result.plan
    summary = {
        'metrics': metrics,
        'validation': result.validation,
        'strategy': prepared.plan.strategy,
        'params_total': plan.at(0).size(),
        'params_trainable': plan.size_trained,
        'optimizer_bytes': result.optimizer_bytes,
        'step_flops': result.step_flops,
        'step_seconds_median': result.step_seconds_median,
        'phases': result.phases,
        'cache': list(result.cache),
        'compile_seconds': result.compile_seconds,
        'wall_seconds': result.wall_seconds,
        'stage_seconds': result.stage_seconds,
        'peak_memory_bytes': peak_memory()['host_bytes'],
        'device_peak_bytes': peak_memory()['device_bytes'],
        'steps': result.steps,
        'stopped_early': result.steps < prepared.span.steps,
        'steps_skipped': result.steps_skipped,
        'best_step': result.best_step,
        'frozen_unchanged': result.verification.frozen_unchanged,
        'trainable_changed': result.verification.trainable_changed,
        'moved_frozen': list(result.verification.moved_frozen),
        'still_trainable': list(result.verification.still_trainable),
        'seed': config.seed,
        'data_fingerprint': inputs['data']['all'],
        'versions': versions(),
        'identity': dict(inputs),
    }
    changed = data_changed(data, inputs)
    if changed:
        summary['data_changed'] = changed
    changes = identity_changes(folder)
    if changes:
        summary['identity_changes'] = changes
    if averaged is not None:
        summary['averaged'] = averaged
    if folder is not None and processes.first():
        if plan.choices:
            write_choices(folder, plan)
        save_own(
            folder / 'model',
            prepared.network,
            result.variables,
            prepared.preprocessing,
            data.class_names,
            {'init': config.init, 'strategy': prepared.plan.strategy},
        )
        summary['data'] = {'sizes': sizes(data), 'notes': list(findings(data))}
        write_json(folder / 'result.json', {**summary, 'provenance': provenance()})
    processes.wait('result')  # who ended now would take the first one along
    return result, summary


def identity_of_run(
    config: Config, inputs: Mapping[str, Any], allow: Collection[str] = ()
) -> RunIdentity:
    """Of which run, and of which inputs, the checkpoints of a config are."""
    return RunIdentity(
        inputs, flat_config(config), plan=PLAN_SECTIONS, places=PLACES, allowed=frozenset(allow)
    )


def identity_changes(folder: pathlib.Path | None) -> list[dict[str, Any]]:
    """Where a run went on under other inputs, versions or code: what changed, and both."""
    if folder is None:
        return []
    files = [folder / FILE, *sorted(folder.glob(f'run_*/{FILE}'))]
    return [row for file in files for row in read_jsonl(file)]


def check_finished(
    folder: pathlib.Path, result: Mapping[str, Any], prepared: Prepared, allow: Collection[str] = ()
) -> None:
    """Refuses a finished run that was made from other inputs than the present ones.

    Where that is allowed it is said: the result is that of the run's own inputs.

    Raises:
      UserError: data, weights or code differ, and `allow` does not hold what does.
    """
    before = result.get('identity', result)
    changes = differences(before, run_identity(prepared))
    wrong = refused(changes, allow)
    if not wrong and refused(changes, ()):
        _log.warning('%s: %s from what the finished run had', folder, refused(changes, ()))
    if wrong:
        raise UserError(
            f'{folder} holds a finished run, and {wrong} from what it had; choose another --workdir'
        )


def layout_of(prepared: Prepared) -> Layout:
    """Where the run lies on the devices there are.

    Raises:
      UserError: the config's mesh has another number of devices, or its batch cannot be shared
        out over them.
    """
    config = prepared.config
    layout = Layout.of(config.mesh, config.mesh_rules)
    leaves, parts = prepared.plan.at(0).leaves, config.optimizer.accumulate
    layout.check(leaves, config.data.batch_size, parts)
    return layout


def start_folder(
    folder: pathlib.Path,
    prepared: Prepared,
    allow_plan_change: bool = False,
    identity: RunIdentity | None = None,
) -> PlanChange:
    """Writes what is decided before training; refuses a folder that holds another run.

    Where only the plan differs, nothing is written unless that is allowed: the checkpoints
    are looked at first.

    Raises:
      UserError: another run, or one that was made from other inputs.
    """
    change = check_folder(folder, prepared, allow_plan_change)
    saved = saved_identity(folder)
    if saved is not None and identity is not None:
        identity.same_run(*saved, folder)
        identity.check(*saved, folder)
    if change.keys and not change.allowed:
        return change
    folder.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:  # a link is refused before the training, not after it
        check_way(folder / name, itself=True)
    write_json(folder / 'config.json', prepared.config.to_json())
    write_json(folder / 'plan.json', prepared.plan.to_json())
    write_json(folder / 'load_report.json', prepared.load_report)
    network, names = prepared.network, prepared.data.class_names
    save_description(folder / 'network', network, prepared.preprocessing, names)
    return change


def check_folder(
    folder: pathlib.Path, prepared: Prepared, allow_plan_change: bool = False
) -> PlanChange:
    """How the config of the run in a folder differs, if there is one; nothing is written.

    Raises:
      UserError: another run, which no change of plan leads to.
    """
    known = folder / 'config.json'
    if not known.exists():
        return PlanChange((), allow_plan_change)
    try:
        before = read_config(read_json(known))
    except UserError as error:
        raise UserError(f'{known}: {error}; choose another --workdir') from error
    # Where things lie on the devices changes no result.
    keys = [k for k in config_differences(before, prepared.config) if k not in PLACES]
    other = [key for key in keys if key.split('.')[0] not in PLAN_SECTIONS]
    if other or (keys and not any((folder / 'checkpoints').glob('[0-9]*'))):
        differs = ', '.join(other or keys)
        raise UserError(
            f'{folder} holds a run of another config ({differs} differs); choose another --workdir'
        )
    if keys and (folder / 'result.json').exists():
        raise UserError(
            f'{folder} holds a finished run of another config ({", ".join(keys)} differs); '
            f'choose another --workdir ({FLAG} is for interrupted runs)'
        )
    return PlanChange(tuple(keys), allow_plan_change)


def write_choices(folder: pathlib.Path, plan: Plan) -> None:
    """plan.json with the phases that choices made, choices.json, and their picture."""
    write_json(folder / 'plan.json', plan.to_json())
    write_json(folder / 'choices.json', [choice.to_json() for choice in plan.choices])
    found = [(choice.step, choice.evidence['by_stage']) for choice in plan.choices]
    save_figure(
        choices_over_time(found, list(plan.at(0).stages), plan.strategy), folder / 'choices.png'
    )


def split_batches(
    data: Splits,
    split: str,
    config: Config,
    preprocessing: Preprocessing | TextPreprocessing | None,
) -> EvalBatches:
    """The batches of a split, for evaluation."""
    settings = config.data
    return eval_batches(
        getattr(data, split), settings.eval_batch_size, settings.image_size, preprocessing
    )


def split_metrics(prepared: Prepared, variables: dict[str, Any], split: str = 'test'):
    """Metrics of a split, on whole arrays."""
    return network_metrics(
        prepared.network,
        variables,
        prepared.data,
        prepared.config,
        prepared.preprocessing,
        split,
    )


def network_metrics(
    network: Network,
    variables: Any,
    data: Splits,
    config: Config,
    preprocessing: Preprocessing | TextPreprocessing | None,
    split: str = 'test',
) -> dict[str, Any]:
    """Metrics of a network on a split, on whole arrays."""
    dataset = getattr(data, split)
    if not len(dataset):
        raise UserError(
            f'{dataset.name}: there is no {split} split to evaluate on; set data.{split}_fraction, '
            'or choose another split'
        )
    batches = split_batches(data, split, config, preprocessing)
    outputs = predict(network, variables, batches, preprocessing)
    if dataset.task == MASKED_TOKENS:
        return masked_token_metrics(outputs)  # too many numbers to gather
    found = gather(outputs)
    return evaluate(
        found.outputs, found.labels, task=dataset.task, class_names=dataset.class_names or None
    )
