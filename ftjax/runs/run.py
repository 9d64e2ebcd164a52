"""A run from what is prepared to a result and a folder that holds all of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from ftjax.config import Config
from ftjax.distributed import process_group
from ftjax.distributed.preemption import says_where
from ftjax.errors import UserError
from ftjax.io.files.atomic import read_json, write_json
from ftjax.io.files.lock import run_lock
from ftjax.io.identity.identity_changes import FILE, differences, part, refused
from ftjax.io.identity.own_parts import check_trains
from ftjax.io.json.json_values import JsonObject
from ftjax.io.json.jsonl import read_jsonl
from ftjax.io.process.provenance import peak_memory, provenance, versions
from ftjax.pretrained.own_format import check_reopens
from ftjax.pytrees import Variables
from ftjax.runs.assessment.forgetting import forgetting, general_data
from ftjax.runs.evaluate import NOTHING_MEASURED, chosen_threshold, split_statistics
from ftjax.runs.identity import data_changed, flat_config, run_identity, weights_identity
from ftjax.runs.prediction.model_folder import save_model
from ftjax.runs.prepare import Prepared
from ftjax.runs.run_folder import NO_RESULT, PLAN_SECTIONS, start_folder, write_choices
from ftjax.runs.run_spec import run_spec
from ftjax.tasks import task_of
from ftjax.tasks.statistics import Statistics
from ftjax.training.checkpoints.run_identity import PlanChange, RunIdentity
from ftjax.training.loop.fit import FitResult, fit
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.sweeps.weight_averaging import fit_averaged
from ftjax.xla.program_cache import forget_other_code

_log = logging.getLogger(__name__)


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
    check_trains()
    inputs = process_group.from_first(lambda: run_identity(prepared))
    forget_other_code(part(part(inputs, 'code'), 'parts'))
    folder = None if workdir is None else pathlib.Path(workdir)
    if folder is not None:
        check_reopens(prepared.network)
    general_data(prepared)  # what cannot be compared is refused before anything is trained
    for column in prepared.data.train.columns.values():
        column.rows(np.arange(1))  # made now: what it cannot be made of is refused, too
    with opened(prepared, folder, allow_plan_change, inputs, allow) as change:
        spec = run_spec(prepared)
        looked_at = folder is not None or progress  # one run of many is not
        if looked_at and process_group.first():
            look_through(prepared)  # says what it finds before anything is trained
        run = functools.partial(fit, progress=progress, plan_change=change, profile=profile)

        def identity_of(spec: RunSpec) -> RunIdentity:
            own = dataclasses.replace(prepared.config, seed=spec.seed, optimizer=spec.optimizer)
            return identity_of_run(own, inputs, allow)

        if spec.plan.term('weights') is None:
            result, averaged = run(spec, folder, identity=identity_of(spec)), None
        else:
            result, averaged = fit_averaged(
                spec, lambda spec, inside: run(spec, inside, identity=identity_of(spec)), folder
            )
        facts = None
        if prepared.config.train.adapt:
            from ftjax.runs.adapt import adapted  # few runs adapt

            saved = 'the training is saved: the same command goes on'
            kept = 'nothing is saved' if folder is None else saved
            with says_where(lambda: f'in train.adapt; {kept}'):
                result, facts = adapted(prepared, spec, result, progress)
        if looked_at and process_group.first():
            look_through(prepared)  # now that features are stored
        return result, finished(prepared, result, averaged, folder, inputs, facts)


def look_through(prepared: Prepared) -> None:
    """Says what stored features tell of the data; see `feature_audit`."""
    from ftjax.runs.before_training.feature_audit import feature_audit  # one run of many needs none

    feature_audit(prepared)


@contextlib.contextmanager
def opened(
    prepared: Prepared,
    folder: pathlib.Path | None,
    allow_plan_change: bool,
    inputs: Mapping[str, object],
    allow: Collection[str],
) -> Iterator[PlanChange]:
    """The run's folder, locked; gives what differs from the run in it, and whether that may be."""
    if folder is None:
        yield PlanChange()
        return
    config = prepared.config
    with run_lock(folder, enabled=process_group.first()):
        identity = identity_of_run(config, inputs, allow)
        process_group.same_everywhere('config', config.to_json())
        process_group.same_everywhere('data set', prepared.data.fingerprint)
        exact = {k: v for k, v in weights_identity(prepared).items() if k != 'random'}
        process_group.same_everywhere('network or pretrained weights', exact)
        yield PlanChange(
            **process_group.from_first(
                lambda: dataclasses.asdict(
                    start_folder(folder, prepared, allow_plan_change, identity)
                )
            )
        )


def finished(
    prepared: Prepared,
    result: FitResult,
    averaged: Variables | None,
    folder: pathlib.Path | None,
    inputs: Mapping[str, Any],
    adaptation: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """What result.json holds; the run's folder gets it, and the network."""
    config, data = prepared.config, prepared.data
    metrics, found = NOTHING_MEASURED | {'task': data.task}, Statistics({})
    threshold = chosen_threshold(prepared, result.variables)
    if len(data.test):
        found, task = split_statistics(prepared, result.variables), task_of(data.task)
        found = found if threshold is None else task.decided(found, threshold)
        metrics = task.measured(found, data.class_names, threshold)
        metrics |= data.label_kind.shared_with_training(data.train.inputs, data.test.inputs)
    plan = result.plan
    summary = {
        'metrics': metrics,
        'validation': result.validation,
        'strategy': prepared.plan.strategy,
        'params_total': plan.at(0).size(),
        'params_trainable': plan.size_trained,
        'optimizer_bytes': result.optimizer_bytes,
        'step_flops': result.step_flops,
        'step_bytes': result.step_bytes,
        'step_seconds_median': result.step_seconds_median,
        'phases': result.phases,
        'cache': list(result.cache),
        'compile_seconds': result.compile_seconds,
        'wall_seconds': result.wall_seconds,
        'stage_seconds': result.stage_seconds,
        'peak_memory_bytes': peak_memory()['host_bytes'],
        'device_peak_bytes': peak_memory()['device_bytes'],
        'steps': result.steps,
        'stopped_early': result.steps < prepared.run_length.steps,
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
    if adaptation is not None:
        summary['adapted'] = dict(adaptation)
    if averaged is not None:
        summary['averaged'] = averaged
    general = general_data(prepared)
    if general is not None:
        summary['forgetting'] = forgetting(prepared, result.variables, general)
    if process_group.first():
        from ftjax.data.audit.quick import quick_audit
        from ftjax.runs.before_training.feature_audit import known_findings

        audit = quick_audit(data)
        more = (*audit.findings, *known_findings(data))
        summary['audit'] = dataclasses.replace(audit, findings=more).to_json()
    if folder is not None and process_group.first():
        from ftjax.data.audit.overview import findings, sizes

        save_model(folder / 'model', prepared, result.variables, threshold)
        if plan.choices:
            write_choices(folder, plan)
        summary['data'] = {'sizes': sizes(data), 'notes': list(findings(data))}
        told = {**kept_latency(folder), **summary, 'provenance': provenance()}
        write_json(folder / 'result.json', told)
        if config.train.report:
            from ftjax.runs.report.run_report import RunReport, report_at_end  # it draws

            report_at_end(folder, lambda: RunReport.of(prepared, result, told, found, folder.name))
    process_group.wait('result')  # who ended now would take the first one along
    return summary


def kept_latency(folder: pathlib.Path) -> dict[str, object]:
    """What scripts/latency.py has added to the result of a finished run; {} where it has not."""
    file = folder / 'result.json'
    before = read_json(file) if file.exists() else {}
    return {'latency': before['latency']} if 'latency' in before else {}


def identity_of_run(
    config: Config, inputs: Mapping[str, object], allow: Collection[str] = ()
) -> RunIdentity:
    """Of which run, and of which inputs, the checkpoints of a config are."""
    return RunIdentity(
        inputs,
        flat_config(config),
        plan=PLAN_SECTIONS,
        no_result=NO_RESULT,
        allowed=frozenset(allow),
    )


def identity_changes(folder: pathlib.Path | None) -> list[dict[str, object]]:
    """Where a run went on under other inputs, versions or code: what changed, and both."""
    if folder is None:
        return []
    files = [folder / FILE, *sorted(folder.glob(f'run_*/{FILE}'))]
    return [row for file in files for row in read_jsonl(file)]


def check_finished(
    folder: pathlib.Path, result: JsonObject, prepared: Prepared, allow: Collection[str] = ()
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
