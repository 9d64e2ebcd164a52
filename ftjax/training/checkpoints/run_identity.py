"""Whether a run may go on from a checkpoint: of the same run, of the same inputs, of the same plan.

What differs and may is said, and recorded in a file of the run.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.distributed.process_group import first
from ftjax.errors import UserError
from ftjax.io.files.saved_step import SavedStep, steps_in
from ftjax.io.identity import identity_changes
from ftjax.io.identity.identity_changes import differences, flags_for, joined, part, refused
from ftjax.io.json.json_values import JsonObject
from ftjax.io.json.jsonl import JsonLines
from ftjax.training.checkpoints.training_state import Changes

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
        """Says and records what becomes of a checkpoint's leaves; UserError if not `allowed`."""
        if changes.same and not self.keys:
            return
        what = ', '.join(self.keys) or 'the plan'
        told = what, step, folder, changes.table()
        _log.warning('%s changed since the checkpoint of step %d in %s: %s', *told)
        if not self.allowed:
            raise UserError(
                f'{folder} holds a run of another plan ({what} changed: {changes.counts}); '
                f'{FLAG} goes on from step {step} under the new one, or choose another --workdir'
            )
        row = {**dataclasses.asdict(changes), 'kept': len(changes.kept)}
        _record(folder / FILE, {'step': step, 'keys': self.keys, **row})


@dataclasses.dataclass(frozen=True)
class RunIdentity:
    """What a fit is of; checkpoints in its folder are held against it."""

    inputs: Mapping[str, Any]
    """Data, weights, code, commit and versions; see ftjax/runs/identity.py."""
    config: JsonObject
    """Values of the config by dotted keys."""
    plan: tuple[str, ...] = ()
    """Sections of the config that say what trains: PlanChange decides on them."""
    no_result: tuple[str, ...] = ()
    """Sections and keys that change no result."""
    allowed: frozenset[str] = frozenset()
    """Kinds of inputs that may differ: 'data', 'weights', 'code'; versions and commit always."""

    def to_saved(self) -> dict[str, object]:
        """What a checkpoint holds of it."""
        return {**self.inputs, 'config': dict(self.config)}

    def check(
        self, saved: object, step: int, folder: pathlib.Path
    ) -> tuple[list[str], dict[str, list[str]]]:
        """Keys of the plan, and what of the inputs, that differ from a checkpoint's.

        UserError where another key of the config differs, or an input that may not.
        """
        before = part(saved, 'config')
        keys = [key for key in self.config if key in before and before[key] != self.config[key]]
        keys = [key for key in keys if not {key, key.split('.')[0]} & {*self.no_result}]
        other = [key for key in keys if key.split('.')[0] not in self.plan]
        if other:
            told = joined([f'{k} is {before[k]!r}, here {self.config[k]!r}' for k in other])
            raise UserError(
                f'{folder}: the checkpoint of step {step} is of another run: {told}; remove it, or '
                'choose another --workdir'
            )
        changes = differences(saved, self.inputs)
        wrong = refused(changes, self.allowed)
        if wrong:
            raise UserError(
                f'{folder}: {wrong} from what the run had at step {step}; '
                f'{flags_for(changes, self.allowed)} goes on and records both, or choose another '
                '--workdir'
            )
        return keys, changes

    def judge(self, saved: Any, step: int, folder: pathlib.Path) -> list[str]:
        """As `check`, for the keys of the plan; what of the inputs differs is said and recorded."""
        if saved is None:
            _log.info('the checkpoint of step %d does not say what it was made from', step)
        keys, changes = self.check(saved, step, folder)
        if changes:
            told = joined([word for words in changes.values() for word in words])
            _log.warning('since step %d in %s there changed: %s', step, folder, told)
            before = {key: value for key, value in saved.items() if key != 'config'}
            row = {'step': step, 'changed': changes, 'before': before, 'after': self.inputs}
            _record(folder / identity_changes.FILE, row)
        return keys


def _record(file: pathlib.Path, row: Mapping[str, object]) -> None:
    if first():
        with JsonLines(file) as lines:
            lines.append(row, sync=True)


def saved_identity(folder: pathlib.Path) -> tuple[object, int] | None:
    """Identity and step of the last checkpoint in a run's folder; None where none tells."""
    for step in reversed(steps_in(folder / 'checkpoints')):
        try:
            found = SavedStep(folder / 'checkpoints' / str(step)).identity
        except UserError:
            continue  # restoring says what is wrong with it
        return None if found is None else (found, step)
    return None
