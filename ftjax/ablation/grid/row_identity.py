"""Rows of a folder are of one set of inputs: others are refused, or noted where that is allowed."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Collection, Hashable, Mapping

from ftjax.ablation.engines.engine import Cell
from ftjax.ablation.statistics.row_types import OwnRow
from ftjax.errors import UserError
from ftjax.io.identity.identity_changes import FILE, INPUTS, differences, flags_for, joined, refused
from ftjax.io.json.json_values import JsonObject
from ftjax.io.json.jsonl import JsonLines, read_jsonl


class RowIdentities:
    """Holds rows against the inputs that their cells have now, and against one another."""

    def __init__(
        self,
        key: Callable[[Cell], Hashable],
        identify: Callable[[Cell], Mapping[str, object]],
        allowed: Collection[str] = (),
    ):
        """A grid's cells.

        Args:
          key: equal for cells that have the same data and weights; quick to compute.
          identify: what a cell is made from; it reads data and weights.
          allowed: kinds of inputs that may differ.
        """
        self.key, self.identify, self.allowed = key, identify, frozenset(allowed)
        self._seen: dict[Hashable, dict[str, object]] = {}

    def check(self, rows: list[OwnRow], folder: pathlib.Path) -> None:
        """Compares rows that are there with the present inputs of their cells.

        Rows of an earlier version that tell of no inputs are taken as they are.

        Args:
          rows: of cells that the grid names.
          folder: that they are in.

        Raises:
          UserError: inputs of a row differ, and that was not asked for.
        """
        now: dict[Hashable, Mapping[str, object]] = {}
        noted: set[str] = set()
        # Seed by seed, because a seed is a data set, which is then read once.
        for row in sorted(rows, key=lambda row: row['seed']):
            cell = row['arm'], row['rate'], row['seed']
            if not ('identity' in row or 'data_fingerprint' in row):
                continue
            key = self.key(cell), row['arm']
            if key not in now:
                now[key] = self.identify(cell)
                self._first(cell, now[key])
            before = row.get('identity', row)
            changes = differences(before, now[key])
            wrong = refused(changes, self.allowed)
            if wrong:
                raise UserError(
                    f'{folder} holds rows of other inputs: of arm {row["arm"]!r}, seed '
                    f'{row["seed"]}, {wrong} from what they are now; '
                    f'{flags_for(changes, self.allowed)} goes on and records both, or choose '
                    'another --workdir'
                )
            inputs = {kind: words for kind, words in changes.items() if kind in INPUTS}
            if inputs and repr(inputs) not in noted:
                noted.add(repr(inputs))
                with JsonLines(folder / FILE) as lines:
                    line = {'cell': cell, 'changed': inputs, 'before': before, 'after': now[key]}
                    lines.append(line, sync=True)

    def take(self, row: OwnRow) -> None:
        """Compares a new row with the first of the same inputs in this call.

        Raises:
          UserError: inputs changed while the grid was going, and that was not asked for.
        """
        if not isinstance(row.get('identity'), dict):
            return
        first = self._first((row['arm'], row['rate'], row['seed']), row['identity'])
        wrong = refused(differences(first, row['identity']), self.allowed)
        if wrong:
            raise UserError(
                f'inputs changed while the ablation was going: of arm {row["arm"]!r}, seed '
                f'{row["seed"]}, {wrong} from what earlier runs had'
            )

    def _first(self, cell: Cell, identity: JsonObject) -> dict[str, object]:
        """What the first cell of the same data and weights had, and the first of the same arm."""
        found: dict[str, object] = {}
        # Arms have code of their own: strategies, for instance.
        for key, kinds in ((self.key(cell), ('data', 'weights')), (cell[0], ('code',))):
            known = self._seen.setdefault(key, {})
            for kind in kinds:
                if kind in identity:
                    found[kind] = known.setdefault(kind, identity[kind])
        return found


def identity_notes(folder: pathlib.Path) -> list[str]:
    """What readers of a comparison are told of rows that were made from different inputs."""
    changed = [word for row in read_jsonl(folder / FILE) for word in _words(row)]
    if not changed:
        return []
    words = joined(list(dict.fromkeys(changed)))
    return [f'Rows were not all made from the same inputs: between them changed {words} ({FILE}).']


def _words(row: OwnRow) -> list[str]:
    changed = row.get('changed')
    found = changed.values() if isinstance(changed, dict) else ()
    return [str(word) for words in found if isinstance(words, list) for word in words]
