"""Folders of sentence-transformers: how the vectors of tokens become one, read and written.

Such a folder is one of transformers with `modules.json` beside it, the list of what a text goes
through (Transformer, Pooling, and perhaps Dense and Normalize), and a folder for each that has
settings: `1_Pooling/config.json`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_reader import LENIENT, parse_json, read_object

MODULES, POOLING = 'modules.json', '1_Pooling'
PREFIX = 'sentence_transformers.models.'
MODES = {
    'cls': 'pooling_mode_cls_token',
    'mean': 'pooling_mode_mean_tokens',
    'last': 'pooling_mode_lasttoken',
}
"""Our name of a pool -> the flag of a Pooling module."""
FLAGS = (
    *MODES.values(),
    *('pooling_mode_max_tokens', 'pooling_mode_mean_sqrt_len_tokens'),
    'pooling_mode_weightedmean_tokens',
)


def pooling_of(folder: pathlib.Path) -> str | None:
    """'cls', 'mean' or 'last', as a folder says; None where it is not of sentence-transformers.

    Vectors are brought to length 1 in any case: their cosines are the same without.

    Raises:
      UserError: another pooling, or a module that changes the vectors.
    """
    file = folder / MODULES
    if not file.exists():
        return None
    modules = parse_json(file.read_text(encoding='utf-8'), str(file), LENIENT)
    if not isinstance(modules, list) or not all(isinstance(each, Mapping) for each in modules):
        raise UserError(f'{file}: expected a list of modules')
    kinds = {str(each.get('type', '')).rpartition('.')[2]: each for each in modules}
    for kind in kinds:
        if kind not in ('Transformer', 'Pooling', 'Normalize'):
            raise UserError(f'{file}: a module {kind!r} is not read; expected Transformer, Pooling')
    where = str(kinds.get('Pooling', {}).get('path', POOLING))
    if where != pathlib.PurePath(where).name:  # never out of the folder
        raise UserError(f'{file}: the path {where!r} of a module leads elsewhere')
    config = read_object(folder / where / 'config.json', LENIENT)
    return mode_of(config, str(folder / where / 'config.json'))


def mode_of(config: Mapping[str, Any], file: str) -> str:
    """The pool that the config of a Pooling module says.

    >>> mode_of({'pooling_mode_mean_tokens': True, 'word_embedding_dimension': 8}, 'config.json')
    'mean'
    """
    named = config.get('pooling_mode')  # as newer versions have it
    chosen = [named] if isinstance(named, str) else [flag for flag in FLAGS if config.get(flag)]
    known = {**{flag: pool for pool, flag in MODES.items()}, 'lasttoken': 'last'}
    known |= {pool: pool for pool in MODES}
    found = [known.get(each) for each in chosen]
    if len(found) != 1 or found[0] is None:
        raise UserError(
            f'{file}: pools by {", ".join(map(str, chosen)) or "nothing"}; expected the first '
            'token (cls), the mean, or the last token'
        )
    return found[0]
