"""Of which run, and made from which inputs, a checkpoint is: refused under others, or recorded."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.distributed.process_group import first
from ftjax.errors import UserError
from ftjax.io.files.saved_step import SavedStep, steps_in
from ftjax.io.identity.identity_changes import FILE, differences, flags_for, joined, part, refused
from ftjax.io.json.jsonl import JsonLines

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RunIdentity:
    """What a fit is of; checkpoints in its folder are held against it."""

    inputs: Mapping[str, Any]
    """Data, weights, code, commit and versions; see ftjax/runs/identity.py."""
    config: Mapping[str, Any]
    """Values of the config by dotted keys."""
    plan: tuple[str, ...] = ()
    """Sections of the config that say what trains: PlanChange decides on them."""
    places: tuple[str, ...] = ()
    """Sections that change no result."""
    allowed: frozenset[str] = frozenset()
    """Kinds of inputs that may differ: 'data', 'weights', 'code'."""

    def to_saved(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {**self.inputs, 'config': dict(self.config)}

    def same_run(self, saved: Any, step: int, folder: pathlib.Path) -> list[str]:
        """Keys of the plan under which a checkpoint's config differs.

        Raises:
          UserError: another key differs: it is a checkpoint of another run.
        """
        before = part(saved, 'config')
        keys = [key for key in self.config if key in before and before[key] != self.config[key]]
        keys = [key for key in keys if key.split('.')[0] not in self.places]
        other = [key for key in keys if key.split('.')[0] not in self.plan]
        if other:
            told = joined([f'{k} is {before[k]!r}, here {self.config[k]!r}' for k in other])
            raise UserError(
                f'{folder}: the checkpoint of step {step} is of another run: {told}; remove it, or '
                'choose another --workdir'
            )
        return keys

    def check(self, saved: Any, step: int, folder: pathlib.Path) -> dict[str, list[str]]:
        """What of a checkpoint's inputs differs from this run's, and may.

        Raises:
          UserError: data, weights or code differ, and that was not asked for.
        """
        changes = differences(saved, self.inputs)
        wrong = refused(changes, self.allowed)
        if wrong:
            raise UserError(
                f'{folder}: {wrong} from what the run had at step {step}; '
                f'{flags_for(changes, self.allowed)} goes on and records both, or choose another '
                '--workdir'
            )
        return changes

    def judge(self, saved: Any, step: int, folder: pathlib.Path) -> None:
        """As `check`; what differs and may is said and noted.

        Versions and commit always may.
        """
        if saved is None:
            _log.info('the checkpoint of step %d does not say what it was made from', step)
            return
        changes = self.check(saved, step, folder)
        if not changes:
            return
        told = joined([word for words in changes.values() for word in words])
        _log.warning('since step %d in %s there changed: %s', step, folder, told)
        if first():
            before = {key: value for key, value in saved.items() if key != 'config'}
            row = {'step': step, 'changed': changes, 'before': before, 'after': self.inputs}
            with JsonLines(folder / FILE) as lines:
                lines.append(row, sync=True)


def saved_identity(folder: pathlib.Path) -> tuple[Any, int] | None:
    """Identity and step of the last checkpoint in a run's folder; None where none tells."""
    place = folder / 'checkpoints'
    for step in reversed(steps_in(place) if place.is_dir() else ()):
        try:
            found = SavedStep(place / str(step)).identity
        except UserError:
            continue  # restoring says what is wrong with it
        return None if found is None else (found, step)
    return None
