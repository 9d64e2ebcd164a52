"""Functions of Python's standard library, each with the sentence that says what it does.

The files are parsed and never run; versions of Python differ in them.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from ftjax.data.synthetic.docstrings import SKIPPED, is_held_out, library_folder
from ftjax.data.synthetic.parsed_files import python_files, statements, syntax_tree

_WORDS = (4, 30)
_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a function does, and its name and parameters as words."""

    sentence: str
    name: str
    module: str

    @property
    def id(self) -> str:
        """Stable between versions of Python while the function is."""
        both = f'{self.sentence} {self.name}'
        return f'{self.module}:{hashlib.sha256(both.encode()).hexdigest()[:12]}'


@functools.cache
def summaries() -> tuple[Summary, ...]:
    """Each sentence once, with the first function that has it, and each name once.

    Only sentences of the half that no network was pretrained on (`is_held_out`).
    """
    found: dict[str, Summary] = {}
    names: set[str] = set()
    for module, path in python_files(library_folder(), SKIPPED):
        for sentence, name in _functions(path):
            if is_held_out(sentence) and sentence not in found and name not in names:
                found[sentence] = Summary(sentence, name, module)
                names.add(name)
    return tuple(found.values())


def as_words(name: str) -> str:
    """A name as words.

    >>> as_words('get_payload'), as_words('HTTPServer')
    ('get payload', 'http server')
    """
    parts = re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', ' ', name)
    return ' '.join(parts.replace('_', ' ').split()).lower()


def _functions(path: Path) -> Iterator[tuple[str, str]]:
    """(first sentence of the docstring, name and parameters) of the functions of a file."""
    try:
        tree = syntax_tree(path.read_bytes())
    except OSError:
        return
    for node in () if tree is None else statements(tree):
        text = ast.get_docstring(node, clean=False) if isinstance(node, _DEFINES) else None
        if text is None or not isinstance(node, _DEFINES) or node.name.startswith('__'):
            continue
        flat = ' '.join(inspect.cleandoc(text).split('\n\n')[0].split())
        sentence = re.split(r'(?<=[.!?:])\s', flat)[0]
        given = [each.arg for each in node.args.args if each.arg not in ('self', 'cls')]
        name = ' '.join(map(as_words, (node.name, *given)))
        if _WORDS[0] <= len(sentence.split()) <= _WORDS[1] and sentence.isascii():
            yield sentence, name
