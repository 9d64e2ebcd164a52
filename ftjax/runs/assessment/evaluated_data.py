"""Whether data are still those of a run, before its network is evaluated."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

from ftjax.data import Splits
from ftjax.io.identity.identity_changes import differences, part, refused
from ftjax.runs.identity import data_identity


def how_data_differ(
    folder: pathlib.Path, data: Splits, class_names: Sequence[str], split: str
) -> str:
    """How a split and the classes differ from those of the run in a folder; '' if they do not.

    Args:
      folder: of the run; where its result.json has no data identity, classes are compared.
      data: as it is now.
      class_names: of the network's head; () where they are not known.
      split: that is to be evaluated.
    """
    names = data.class_names
    if class_names and names and tuple(class_names) != tuple(names):
        pairs = zip(class_names, names, strict=False)
        counts = f'{len(class_names)} are now {len(names)}'
        first = next((f'{a!r} is now {b!r}' for a, b in pairs if a != b), counts)
        return f'the classes differ from those of the run: {first}'
    result = _result(folder)
    old = part(part(result, 'identity'), 'data')
    if old:
        now = {split: getattr(data, split).fingerprint}
        changes = differences({'data': {split: old.get(split)}}, {'data': now})
    else:
        changes = differences(result, {'data': data_identity(data)})
    wrong = refused(changes, ())
    return f'{wrong} from that of the run: examples in it may have been trained on' if wrong else ''


def _result(folder: pathlib.Path) -> object:
    try:
        return json.loads((folder / 'result.json').read_text('utf-8'))
    except (OSError, ValueError, RecursionError):
        return {}
