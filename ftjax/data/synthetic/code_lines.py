"""Lines of Python's standard library as words with tags, made by Python's own tokenizer.

The words of a line are its names, numbers and the words of its strings; brackets, dots and other
operators are left out, so that what a word is follows from the words around it alone. Tags are
IOB2 over spans of four types:

    CALL    what is called, 'os path join' of `os.path.join(name)`
    DEF     the name that a `def` or a `class` defines
    PARAM   a parameter in the line of a `def`
    STRING  the words of one string

Files are parsed and never run; versions of Python differ in them.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import io
import keyword
import tokenize
from collections.abc import Iterator
from pathlib import Path

from ftjax.data.labels.tags import OUTSIDE
from ftjax.data.synthetic.docstrings import GROUP_OF, library_folder
from ftjax.data.synthetic.parsed_files import python_files, statements, syntax_tree

TYPES = ('CALL', 'DEF', 'PARAM', 'STRING')
TAGS = (OUTSIDE, *(f'{mark}-{kind}' for kind in TYPES for mark in 'BI'))
_WORDS = (4, 24)
_SHARE = 4  # of so many lines one is taken, by its SHA-256
_SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Raise, ast.Assert, ast.Expr)
_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclasses.dataclass(frozen=True)
class CodeLine:
    """One line of code, and the module or package at the top that it was found in."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    module: str

    @property
    def id(self) -> str:
        """Stable between versions of Python while the line is."""
        digest = hashlib.sha256(' '.join(self.words).encode()).hexdigest()
        return f'{self.module}:{digest[:12]}'


@functools.cache
def code_lines() -> tuple[CodeLine, ...]:
    """Some 3,000 lines of the modules of GROUPS, each once."""
    found: dict[tuple[str, ...], CodeLine] = {}
    for module, path in python_files(library_folder(), (), GROUP_OF):
        for line in _lines(path):
            words, tags = words_and_tags(line)
            plain = all(word.isascii() for word in words)
            if _WORDS[0] <= len(words) <= _WORDS[1] and plain and set(tags) != {OUTSIDE}:
                found.setdefault(words, CodeLine(words, tags, module))
    return tuple(found.values())


def words_and_tags(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a line of code and their tags; none of a line that is no whole one.

    >>> words_and_tags("value = os.path.join(root, 'a b')")
    (('value', 'os', 'path', 'join', 'root', 'a', 'b'), \
('O', 'B-CALL', 'I-CALL', 'I-CALL', 'O', 'B-STRING', 'I-STRING'))
    >>> words_and_tags('def read(self, size=-1):')[1]
    ('O', 'B-DEF', 'B-PARAM', 'B-PARAM', 'O')
    """
    try:
        tokens = [
            (token.type, token.string)
            for token in tokenize.generate_tokens(io.StringIO(line).readline)
            if token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING, tokenize.OP)
        ]
    except (tokenize.TokenError, SyntaxError):
        return (), ()
    strings = [string for _, string in tokens]
    words: list[str] = []
    tags: list[str] = []
    chain = 0  # words of a dotted name that ends here
    header, depth = 'def' in strings[:2], 0
    for place, (kind, string) in enumerate(tokens):
        before = strings[place - 1] if place else ''
        after = strings[place + 1] if place + 1 < len(strings) else ''
        if kind == tokenize.OP:
            depth += {'(': 1, '[': 1, '{': 1, ')': -1, ']': -1, '}': -1}.get(string, 0)
            continue
        if kind == tokenize.STRING:
            inner = string.strip('rRbBuUfF').strip('\'"').split() or ["''"]
            words += inner
            tags += ['B-STRING', *['I-STRING'] * (len(inner) - 1)]
            continue
        words.append(string)
        tags.append(OUTSIDE)
        chain = chain + 1 if before == '.' and chain else 1
        if kind != tokenize.NAME or keyword.iskeyword(string):
            chain = 0
        elif before in ('def', 'class'):
            tags[-1] = 'B-DEF'
        elif header and depth == 1 and before in ('(', ',', '*', '**'):
            tags[-1] = 'B-PARAM'
        elif after == '(':
            tags[-chain:] = ['B-CALL', *['I-CALL'] * (chain - 1)]
    return tuple(words), tuple(tags)


def _lines(path: Path) -> Iterator[str]:
    """Statements of one line and first lines of definitions, of which the hash picks some."""
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, ValueError):
        return
    tree, lines = syntax_tree(text), text.split('\n')
    for node in () if tree is None else statements(tree):
        if isinstance(node, _DEFINES):
            line = lines[node.lineno - 1].strip()
            if not line.endswith(':'):
                continue
        elif isinstance(node, _SIMPLE) and node.lineno == node.end_lineno:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue
            line = lines[node.lineno - 1].strip()
        else:
            continue
        if hashlib.sha256(line.encode()).digest()[0] % _SHARE == 0:
            yield line
