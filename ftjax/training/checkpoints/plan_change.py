"""Going on under another plan: what a checkpoint of the old one gives, said and asked for."""

from __future__ import annotations

import dataclasses
import logging
import pathlib

from ftjax.distributed.process_group import first
from ftjax.errors import UserError
from ftjax.io.json.jsonl import JsonLines
from ftjax.training.checkpoints.compatibility import Changes

FLAG = '--allow-plan-change'
FILE = 'plan_changes.jsonl'
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PlanChange:
    """What of the config differs from the one that the checkpoints were made with."""

    keys: tuple[str, ...] = ()
    """Such as 'freeze.strategy'."""
    allowed: bool = False

    def judge(self, changes: Changes, step: int, folder: pathlib.Path) -> None:
        """Says what becomes of a checkpoint's leaves if the plan is another; notes it.

        Raises:
          UserError: the plan is another, and that was not asked for.
        """
        if changes.same and not self.keys:
            return
        what = ', '.join(self.keys) or 'the plan'
        _log.warning(
            '%s changed since the checkpoint of step %d in %s: %s',
            what,
            step,
            folder,
            changes.table(),
        )
        if not self.allowed:
            raise UserError(
                f'{folder} holds a run of another plan ({what} changed: {changes.counts}); '
                f'{FLAG} goes on from step {step} under the new one, or choose another --workdir'
            )
        if first():
            row = {'step': step, 'keys': self.keys, 'kept': len(changes.kept)}
            more = {'initialised': changes.initialised, 'dropped': changes.dropped}
            with JsonLines(folder / FILE) as lines:
                lines.append(row | more, sync=True)
