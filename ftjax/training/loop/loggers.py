"""Where the metrics of a run go besides `metrics.jsonl`: one small protocol, services as extras.

A logger is a function (folder, resume_step, **arguments) -> Logger. `resume_step` is the last step
that an interrupted run keeps, None for a new one. Its package is imported when a run begins.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from ftjax.errors import UserError
from ftjax.registry import register


class Logger(Protocol):
    """What takes the numbers of a run."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Takes numbers of a step, counted from 1; texts are left out."""

    def close(self) -> None:
        """The run ends here, for now."""


class Writer:
    """A logger of two functions: (step, values) and ()."""

    def __init__(self, write: Any, close: Any):
        self.write, self.close = write, close


def package(name: str, extra: str) -> Any:
    """An optional package; UserError with how to install it where it is absent."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"logs for {name} need that package: pip install 'ftjax[{extra}]', or take it out of "
            'train.loggers'
        ) from None


def run_id(folder: pathlib.Path, service: str, new: str = '') -> str:
    """The run's name at a service, kept in its folder, so that a continued run goes on there."""
    file = folder / f'{service}_run.txt'
    if not file.exists():
        file.write_text(new or uuid.uuid4().hex)
    return file.read_text().strip()


@register('logger', 'tensorboard')
def tensorboard(folder: pathlib.Path, resume_step: int | None) -> Logger:
    """An event file in the run's folder, by tensorboardX."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise UserError(
            "TensorBoard logs need tensorboardX: pip install 'ftjax[logging]', or switch them off"
        ) from None
    # purge_step tells TensorBoard to hide what an interrupted run logged past this step.
    purge = None if resume_step is None else resume_step + 1
    events = SummaryWriter(os.fspath(folder), purge_step=purge)

    def write(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            events.add_scalar(name, value, step)

    return Writer(write, events.close)


@register('logger', 'wandb', source='https://docs.wandb.ai')
def wandb(folder: pathlib.Path, resume_step: int | None, project: str = 'ftjax') -> Logger:
    """Weights & Biases; WANDB_MODE=offline keeps it on this machine."""
    del resume_step
    run = package('wandb', 'wandb').init(
        project=project,
        name=folder.name,
        dir=os.fspath(folder),
        id=run_id(folder, 'wandb'),
        resume='allow',
    )
    return Writer(lambda step, values: run.log(dict(values), step=step), run.finish)


@register('logger', 'mlflow', source='https://mlflow.org/docs')
def mlflow(folder: pathlib.Path, resume_step: int | None, experiment: str = 'ftjax') -> Logger:
    """MLflow, where MLFLOW_TRACKING_URI says."""
    del resume_step
    client = package('mlflow', 'mlflow')
    client.set_experiment(experiment)
    if (folder / 'mlflow_run.txt').exists():
        client.start_run(run_id=run_id(folder, 'mlflow'))
    else:
        run_id(folder, 'mlflow', client.start_run(run_name=folder.name).info.run_id)
    return Writer(lambda step, values: client.log_metrics(dict(values), step=step), client.end_run)


@register('logger', 'comet', source='https://www.comet.com/docs')
def comet(folder: pathlib.Path, resume_step: int | None, project: str = 'ftjax') -> Logger:
    """Comet, by the key in COMET_API_KEY."""
    del resume_step
    module = package('comet_ml', 'comet')
    if (folder / 'comet_run.txt').exists():
        run = module.ExistingExperiment(previous_experiment=run_id(folder, 'comet'))
    else:
        run = module.Experiment(project_name=project)
        run_id(folder, 'comet', run.get_key())
        run.set_name(folder.name)
    return Writer(lambda step, values: run.log_metrics(dict(values), step=step), run.end)
