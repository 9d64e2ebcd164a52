"""The tasks of an ablation: which there are, and where the rows of each lie."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping

from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError, check_name


def tasks_of(settings: AblationSettings) -> Mapping[str, Mapping[str, object]]:
    """{task: changes of the config} of every grid; one without name or changes for a sequence."""
    return {'': {}} if settings.sequence else data_sets_of(settings)


def tasks_to_run(settings: AblationSettings, only: str = '') -> Mapping[str, Mapping[str, object]]:
    """Those of `tasks_of`, or the one of a name.

    Raises:
      UserError: there is no such task, or its runs depend on those of the others.
    """
    every = tasks_of(settings)
    if not only:
        return every
    for name in ('sequence', 'budget'):
        if getattr(settings, name):
            raise UserError(
                f'--only_task does not go with config.ablation.{name}: its tasks depend on each '
                'other; run them in one process'
            )
    if not settings.tasks:
        raise UserError(f'--only_task is {only!r}, and config.ablation.tasks names no task')
    check_name(only, every, 'task of --only_task')
    return {only: every[only]}


def data_sets_of(settings: AblationSettings) -> Mapping[str, Mapping[str, object]]:
    """{task: changes of the config} of all data; one without name or changes where none are."""
    return settings.tasks or {'': {}}


def folder_of(task: str, folder: pathlib.Path) -> pathlib.Path:
    """Where the rows of a task are."""
    return folder / place_of(task) if task else folder


def place_of(task: str) -> str:
    """The folder of a task.

    >>> place_of('5 a class / noise')
    '5_a_class_noise'
    """
    return re.sub(r'[^\w.=-]+', '_', task).strip('_.')
