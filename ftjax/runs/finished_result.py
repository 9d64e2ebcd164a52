"""result.json of a run that is finished, read again."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from ftjax.errors import UserError
from ftjax.evaluation.text import metrics_text
from ftjax.io.json_reader import read_object
from ftjax.io.json_values import Flag, Kind, ListOf, Table, Text, check

_KINDS: dict[str, Kind] = {
    'metrics': Table(),
    'frozen_unchanged': Flag(),
    'moved_frozen': ListOf(Text()),
    'still_trainable': ListOf(Text()),
}


def finished_result(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What result.json in a run's folder holds; None of a run that has none yet.

    Raises:
      UserError: it is damaged, or not the result of a run.
    """
    file = pathlib.Path(folder) / 'result.json'
    if not file.exists():
        return None
    result = read_object(file)
    for name, kind in _KINDS.items():
        check(result.get(name), f'{file}: {name}', kind)
    try:
        metrics_text(result['metrics'])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f'{type(error).__name__}: {" ".join(str(error).split())[:100]}'
        raise UserError(f'{file}: metrics are not those of a task ({reason})') from None
    return result
