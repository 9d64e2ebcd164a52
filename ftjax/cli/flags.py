"""The flags that scripts share, each defined in one place."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from absl import flags
from ml_collections.config_flags import config_flags

from ftjax.io.files.url_folder import check_url, is_url
from ftjax.io.identity.identity_changes import INPUTS, flag

ARGV = list(sys.argv)
"""Where ml_collections looks for overrides; without those that it cannot make."""

# The flags belong to the script that defines them: `--help` lists them as its own.
flags.disclaim_key_flags()


def define_config(default: str | None = None) -> flags.FlagHolder[Any]:
    """The flag `--config=FILE.py[:ARGUMENT]` and, per key, `--config.key=value`.

    `.value` is the locked ConfigDict that the file's `get_config` returns. Required unless
    there is a default. A key that is None in the file cannot be set from the command line:
    write `ml_collections.config_dict.placeholder(int)` there instead.
    """
    holder = config_flags.DEFINE_config_file(
        'config', default, 'Configuration file.', sys_argv=ARGV
    )
    if default is None:
        flags.mark_flag_as_required('config')
    return holder


def define_workdir(
    default: str | None = None,
    said: str = 'Folder that results are written to.',
    only_read: Callable[[], bool] = lambda: False,
) -> flags.FlagHolder[Any]:
    """The flag `--workdir=FOLDER`: where results go; required unless there is a default.

    `only_read` says whether nothing is written there, so that it may be a URL.
    """
    holder = flags.DEFINE_string('workdir', default, said)
    flags.register_validator('workdir', lambda workdir: only_read() or is_folder(workdir))
    if default is None:
        flags.mark_flag_as_required('workdir')
    return holder


def is_folder(workdir: str | None) -> bool:
    """Whether results can be written there; flags.ValidationError for a URL.

    >>> is_folder('runs/quickstart')
    True
    """
    if workdir and is_url(workdir):
        check_url(workdir, '--workdir')  # absl would repeat the password of a URL
        raise flags.ValidationError(
            'expected a folder of a file system: results are appended to files under a lock that '
            'ends with its process, and a URL has neither; copy the finished folder there '
            '(scripts/ablate.py does with --publish=URL)'
        )
    return True


def define_audit() -> flags.FlagHolder[str]:
    """The flag `--audit=full`: all checks of scripts/audit.py before anything is trained."""
    said = 'Checks of the data first: quick (less than a second), or full, into WORKDIR/audit.'
    return flags.DEFINE_enum('audit', 'quick', ['quick', 'full'], said)


def define_own_parts() -> flags.FlagHolder[Any]:
    """The flag `--config=FILE.py`, of scripts that open a run: where its own parts are now."""
    said = 'Config file with the parts of your own, where it is not what the run was made with.'
    return flags.DEFINE_multi_string('config', [], said)


def define_allow_code_change() -> flags.FlagHolder[bool]:
    """The flag `--allow_code_change`, of scripts that open a run and go on under other code."""
    said = 'Go on although code of your own is not that of the run, and say so.'
    holder = flags.DEFINE_bool('allow_code_change', False, said)
    flags.DEFINE_alias('allow-code-change', 'allow_code_change')
    return holder


def define_data(said: str) -> Callable[[], dict[str, list[Any]]]:
    """The flags `--data.KEY=VALUE`, of scripts that read other data than a run's own.

    What is returned gives the values of each key, as many as there were, of the type of the
    field of `config.data`.
    """
    holder = flags.DEFINE_multi_string('data', [], f'{said} Written --data.KEY=VALUE.')

    def given() -> dict[str, list[Any]]:
        from ftjax.cli.overrides import data_values  # it brings all settings along

        return data_values(holder.value)

    return given


def define_allowed_changes() -> Callable[[], tuple[str, ...]]:
    """The flags --allow_data_change and its like; what is returned gives the kinds allowed.

    They may be written with hyphens too.
    """
    said = {
        'data': 'Go on although the data are not those that the folder was made with.',
        'weights': 'Go on although the pretrained weights are not those of before.',
        'code': 'Go on although code of your own (network, strategies, ..) has changed.',
    }
    holders = {}
    for kind in INPUTS:
        name = flag(kind).removeprefix('--')
        holders[kind] = flags.DEFINE_bool(name, False, f'{said[kind]} Both are recorded.')
        flags.DEFINE_alias(name.replace('_', '-'), name)
    return lambda: tuple(kind for kind, holder in holders.items() if holder.value)


def define_engine() -> Callable[[], Any]:
    """The flags --engine, --workers and --ray_address; what is returned makes the engine."""
    names = ['in_process', 'processes', 'ray']
    engine = flags.DEFINE_enum('engine', 'in_process', names, 'Where the runs run.')
    workers = flags.DEFINE_integer(
        'workers', None, 'Runs at a time: half the processors, or the cluster, unless given.'
    )
    address = flags.DEFINE_string(
        'ray_address', '', 'Of a running Ray cluster; empty to start one on this machine.'
    )

    def made() -> Any:
        from ftjax.ablation.engines.factory import make_engine
        from ftjax.ablation.engines.worker_start import start_worker

        if engine.value != 'in_process':
            # What is measured here must leave an accelerator's memory to the workers.
            os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
        file: Any = flags.FLAGS['config']
        start = functools.partial(start_worker, file.config_filename, os.getcwd())
        return make_engine(engine.value, workers.value, start, address.value)

    return made
