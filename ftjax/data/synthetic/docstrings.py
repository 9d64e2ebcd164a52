"""Sentences of the text that Python itself carries: docstrings, help topics and the licence.

The files of the installed standard library are parsed and never imported, so nothing of it runs
and nothing is downloaded. Versions of Python differ in this text; what part a sentence belongs
to depends on the sentence alone, so that it is the same in all of them.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import inspect
import re
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from ftjax.data.synthetic.parsed_files import python_files, syntax_tree
from ftjax.errors import UserError

GROUPS: dict[str, tuple[str, ...]] = {
    'mail': ('email', 'imaplib', 'mailbox', 'nntplib', 'poplib', 'smtpd', 'smtplib'),
    'network': (
        *('cgi', 'ftplib', 'http', 'ipaddress', 'netrc', 'socket', 'socketserver', 'ssl'),
        *('telnetlib', 'urllib', 'webbrowser', 'wsgiref', 'xmlrpc'),
    ),
    'text': (
        *('codecs', 'configparser', 'csv', 'difflib', 'encodings', 'gettext', 'html', 'json'),
        *('locale', 'plistlib', 'pprint', 're', 'shlex', 'string', 'textwrap', 'tokenize'),
        *('tomllib', 'xml'),
    ),
    'numbers': (
        *('_pydatetime', '_pydecimal', '_strptime', 'bisect', 'calendar', 'colorsys', 'datetime'),
        *('fractions', 'heapq', 'numbers', 'random', 'statistics', 'zoneinfo'),
    ),
    'files': (
        *('_compression', '_pyio', 'bz2', 'dbm', 'filecmp', 'fileinput', 'fnmatch', 'genericpath'),
        *('glob', 'gzip', 'io', 'linecache', 'lzma', 'ntpath', 'os', 'pathlib', 'posixpath'),
        *('shelve', 'shutil', 'stat', 'tarfile', 'tempfile', 'zipfile', 'zipimport'),
    ),
}
"""Class -> the modules and packages that its sentences come from, private twins included."""
GROUP_OF = {module: group for group, modules in GROUPS.items() for module in modules}

# Neither the interpreter's own tests, which are no prose, nor anybody else's packages.
SKIPPED = {'__pycache__', 'dist-packages', 'idle_test', 'site-packages', 'test', 'tests'}
_TOPICS = 'pydoc_data'  # a table of texts: there every string is documentation
_LICENCE = 'LICENSE.txt'
_WORDS = (5, 50)  # shorter ones are signatures and titles, longer ones are lists
_PROSE = 0.8  # share of letters and spaces


@dataclasses.dataclass(frozen=True)
class Sentence:
    """One sentence, in one line, and the module or package at the top that it was found in."""

    text: str
    module: str

    @property
    def id(self) -> str:
        """Stable between versions of Python while the sentence is."""
        return f'{self.module}:{hashlib.sha256(self.text.encode()).hexdigest()[:12]}'


@functools.cache
def labelled_sentences() -> tuple[tuple[Sentence, str], ...]:
    """(sentence, its group) for half of the sentences of the modules in GROUPS.

    Which half follows from the text. Sentences found in several groups are left out.
    """
    groups: dict[str, set[str]] = {}
    found: dict[str, Sentence] = {}
    for sentence in read_sentences(library_folder(), GROUP_OF):
        if is_held_out(sentence.text):
            found.setdefault(sentence.text, sentence)
            groups.setdefault(sentence.text, set()).add(GROUP_OF[sentence.module])
    clear = [sentence for text, sentence in found.items() if len(groups[text]) == 1]
    return tuple((sentence, GROUP_OF[sentence.module]) for sentence in clear)


@functools.cache
def unlabelled_sentences() -> tuple[Sentence, ...]:
    """Every other sentence, each once: of the other half, and of all other modules.

    None of them is equal to one of `labelled_sentences`.
    """
    used = {sentence.text for sentence, _ in labelled_sentences()}
    found: dict[str, Sentence] = {}
    for sentence in read_sentences(library_folder()):
        if sentence.text not in used:
            found.setdefault(sentence.text, sentence)
    return tuple(found.values())


def is_held_out(text: str) -> bool:
    """Whether a sentence belongs to the half with labels: a coin thrown by its SHA-256."""
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 0


def in_order_or_not(text: str) -> tuple[str, bool]:
    """(the sentence, whether its words are in their original order); half of all are shuffled.

    First and last word keep their places, so the full stop and the capital letter show nothing.
    Which sentences, and into which order, follows from the text.

    >>> in_order_or_not('Return the next line as plain text.')
    ('Return the next line as plain text.', True)
    """
    digest = hashlib.sha256(text.encode()).digest()
    first, *inner, last = text.split()
    if digest[1] % 2 == 0 or len(set(inner)) < 2:
        return text, True
    rng = np.random.default_rng(list(digest[2:10]))
    shuffled = inner
    while shuffled == inner:
        shuffled = [inner[i] for i in rng.permutation(len(inner))]
    return ' '.join([first, *shuffled, last]), False


def library_folder() -> Path:
    """Where the installed standard library lies; UserError if it is not there as files."""
    folder = Path(sysconfig.get_path('stdlib'))
    if not (folder / 'email').is_dir():
        raise UserError(
            f"data.source 'docstrings': {folder} holds no Python files; the standard library "
            'of this Python is packed, use one that has it as files'
        )
    return folder


def read_sentences(folder: Path, modules: Collection[str] | None = None) -> Iterator[Sentence]:
    """The sentences of a library's files in the order of their paths, repetitions included.

    Args:
      folder: of the library.
      modules: names at the top to keep to; None for all, and the licence.
    """
    for module, path in python_files(folder, SKIPPED, modules):
        for text in _texts(path, every_string=module == _TOPICS):
            for sentence in sentences_of(text):
                yield Sentence(sentence, module)
    if modules is None and (folder / _LICENCE).is_file():
        text = (folder / _LICENCE).read_text(encoding='utf-8', errors='ignore')
        for sentence in sentences_of(text):
            yield Sentence(sentence, 'license')


def sentences_of(text: str) -> Iterator[str]:
    r"""The sentences of a docstring that are prose: no examples, tables or lists of names.

    >>> list(sentences_of('Open a file.  Return a stream that\n    reads bytes.\n\n>>> f()'))
    ['Return a stream that reads bytes.']
    """
    for paragraph in re.split(r'\n\s*\n', inspect.cleandoc(text)):
        if '>>>' in paragraph:
            continue
        flat = ' '.join(paragraph.split())
        for sentence in re.split(r'(?<=[.!?:])\s+(?=[A-Z"\'`(])', flat):
            if _is_prose(sentence):
                yield sentence


def _is_prose(sentence: str) -> bool:
    words = sentence.split()
    plain = sum(c.isalpha() or c == ' ' for c in sentence)
    try:
        sentence.encode()
    except UnicodeEncodeError:  # half a surrogate pair, written as an escape
        return False
    return _WORDS[0] <= len(words) <= _WORDS[1] and plain >= _PROSE * len(sentence)


def _texts(path: Path, every_string: bool) -> Iterator[str]:
    """The docstrings of a file, or all its strings; none if this Python cannot parse it."""
    try:
        tree = syntax_tree(path.read_bytes())
    except OSError:
        return
    if tree is None:
        return
    if every_string:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
        return
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield text
        # Definitions stand in bodies, those of conditions and of `try` included.
        inner = (*getattr(node, 'body', ()), *getattr(node, 'orelse', ()))
        waiting += [child for child in reversed(inner) if hasattr(child, 'body')]
