"""Under which licence weights come: what their model card, or a licence file beside them, says."""

from __future__ import annotations

import pathlib
import re

from ftjax.errors import UserError
from ftjax.io.files.regular_files import read_bytes
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.pretrained.locate.locate import RANDOM, locate
from ftjax.pretrained.own_format import CONFIG, FORMAT
from ftjax.pretrained.peft.adapter_folder import adapter_folder

NOT_STATED = 'not stated'
_CARD, _MOST, _LETTERS, _STEPS = 'README.md', 2**20, 80, 5
_FILES = ('LICENSE', 'LICENSE.md', 'LICENSE.txt', 'LICENCE', 'COPYING')
_KNOWN = {
    'mit': r'MIT License|Permission is hereby granted, free of charge',
    'apache-2.0': r'Apache License,?\s+Version 2\.0',
    'bsd-3-clause': r'BSD 3-Clause|Neither the name of',
    'bsd-2-clause': r'BSD 2-Clause|Redistributions in binary form',
    'gpl-3.0': r'GNU GENERAL PUBLIC LICENSE\s+Version 3',
}


def licence_of(init: str) -> str:
    """The licence of a checkpoint in the words of its card; `not stated` where nobody says.

    Of a network trained from another one without a card of its own it is that one's, which is
    named.

    Args:
      init: what `config.init` takes.

    >>> licence_of('glyphs')
    'apache-2.0'
    """
    origin = ''
    for _ in range(_STEPS):
        folder = _folder(init)
        if folder is None:
            return NOT_STATED
        found = _of_card(folder) or _of_file(folder)
        if found:
            return found + origin
        before = _began_with(folder)
        if not before:
            return NOT_STATED
        init, origin = before, f' (of {before})'
    return NOT_STATED


def _folder(init: str) -> pathlib.Path | None:
    init = init.removeprefix(RANDOM)
    if init.startswith('hf://'):
        from ftjax.pretrained.locate.hub import with_card

        return with_card(init)
    try:
        path = locate(init, weights=False).path
    except UserError:
        return None
    return path if path.is_dir() else path.parent


def _of_card(folder: pathlib.Path) -> str:
    """`license:` of the YAML header of a card; with the name of one that is `other`."""
    header = re.match(r'\s*---\n(.*?)\n---', _text(folder / _CARD), re.DOTALL)
    if header is None:
        return ''
    found = re.search(r'(?m)^license:[ \t]*(.*(?:\n[ \t]*-.*)*)', header[1])
    named = re.search(r'(?m)^license_name:[ \t]*(.+)', header[1])
    text = named[1] if named and found and 'other' in found[1] else found[1] if found else ''
    words = re.findall(r'[\w.+-]*\w[\w.+-]*', text)
    return ', '.join(words)[:_LETTERS]


def _of_file(folder: pathlib.Path) -> str:
    for name in _FILES:
        text = ' '.join(_text(folder / name).split())
        if text:
            known = (key for key, pattern in _KNOWN.items() if re.search(pattern, text))
            return next(known, f'{name}: {text[:_LETTERS]}')
    return ''


def _began_with(folder: pathlib.Path) -> str:
    try:
        if (adapter := adapter_folder(folder)) is not None:
            return adapter.base
        config = read_object(folder / CONFIG, LENIENT)
    except UserError:
        return ''
    made = config.get('provenance') if config.get('format') == FORMAT else None
    init = made.get('init') if isinstance(made, dict) else None
    return init.removeprefix(RANDOM) if isinstance(init, str) else ''


def _text(path: pathlib.Path) -> str:
    try:
        return read_bytes(path, _MOST).decode('utf-8', 'replace').replace('\r\n', '\n')
    except OSError:
        return ''
