"""An engine by its name."""

from __future__ import annotations

import os
from collections.abc import Callable

from ftjax.ablation.engines.engine import Engine, InProcess
from ftjax.errors import UserError, check_name

NAMES = ('in_process', 'processes', 'ray')


def make_engine(
    name: str,
    workers: int | None = None,
    start: Callable[[], None] | None = None,
    ray_address: str = '',
) -> Engine:
    """An engine by name.

    Args:
      name: one of NAMES.
      workers: jobs at a time; None for half the processors, or all those of a Ray cluster.
      start: called once in every worker process before its first job.
      ray_address: of a running cluster, 'auto' for the one of this machine; empty to start one.

    Raises:
      UserError: an unknown name, or settings that the engine does not have.

    >>> make_engine('in_process').workers
    1
    """
    check_name(name, NAMES, 'engine')
    if workers is not None and workers < 1:
        raise UserError(f'--workers is {workers}; expected at least 1')
    if ray_address and name != 'ray':
        raise UserError(f'--ray_address goes with --engine=ray, not with --engine={name}')
    if name == 'in_process':
        if workers not in (None, 1):
            raise UserError(f'--workers={workers} goes with --engine=processes or ray')
        return InProcess()
    if name == 'ray':
        from ftjax.ablation.engines.ray_workers import RayActors

        return RayActors(workers, start, ray_address)
    from ftjax.ablation.engines.process_workers import Processes

    return Processes(workers or max(1, (os.cpu_count() or 2) // 2), start)
