"""The start of a run of several processes: by hand, under Slurm, on hosts of a TPU pod."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from ftjax.distributed.process_group import several
from ftjax.errors import UserError

HEARTBEAT = 60
"""Seconds after which a process that gives no sign counts as gone, and the others end."""
JOIN = 300
"""Seconds that a process waits for the others at the start; hosts do not come at the same time."""


def start(
    coordinator: str | None = None, count: int | None = None, index: int | None = None
) -> bool:
    """Joins the run's other processes; whether there are any.

    By hand with all three arguments; by itself under Slurm's `srun` with several tasks and on
    TPU hosts. On any other machine nothing happens. To be called before JAX looks for devices.

    Args:
      coordinator: HOST:PORT, which the first process serves.
      count: processes of the run.
      index: of this one, from 0.

    Raises:
      UserError: some arguments are missing or wrong, or the others cannot be reached.
    """
    given = {'coordinator': coordinator, 'num_processes': count, 'process_id': index}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise UserError(f'--{missing[0]} is missing: several processes need all of --coordinator, '
                        '--num_processes and --process_id')  # fmt: skip
    if coordinator is not None and count is not None and index is not None:
        if count < 1 or not 0 <= index < count:
            raise UserError(
                f'--process_id is {index}; expected 0 to {count - 1} of --num_processes'
            )
        if not coordinator.rpartition(':')[2].isdecimal() or ':' not in coordinator:
            raise UserError(f'--coordinator is {coordinator!r}; expected HOST:PORT')
        _join(coordinator_address=coordinator, num_processes=count, process_id=index)
    elif slurm(os.environ):
        _join()
    elif tpu_host(os.environ):
        # On a single TPU host JAX finds no coordinator, and there is nothing to join.
        with contextlib.suppress(ValueError):
            _join()
    return several()


def _join(**arguments: Any) -> None:
    # Signals are ours: the loop asks all processes whether one of them got one.
    jax.config.update('jax_enable_preemption_service', False)
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=JOIN,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
        )
    except RuntimeError as error:
        text = ' '.join(str(error).split())
        raise UserError(
            f'the processes of the run did not find each other: {text[:200]}'
        ) from error


def slurm(env: Mapping[str, str]) -> bool:
    """Whether an environment is that of one of several tasks started by Slurm's srun.

    >>> slurm({'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '4'})  # of a batch script, before its srun
    False
    """
    names = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_LOCALID')
    counts = [env.get(name, '1') for name in ('SLURM_NTASKS', 'SLURM_STEP_NUM_TASKS')]
    tasks = all(text.isdecimal() and int(text) > 1 for text in counts)
    return tasks and all(name in env for name in names)


def tpu_host(env: Mapping[str, str]) -> bool:
    """Whether this is a host with TPU chips that JAX is to use: it may be one of a pod."""
    platforms = env.get('JAX_PLATFORMS', '')
    if platforms and 'tpu' not in platforms:
        return False
    chips = any(pathlib.Path(name).exists() for name in ('/dev/accel0', '/dev/vfio/0'))
    return chips and importlib.util.find_spec('libtpu') is not None
