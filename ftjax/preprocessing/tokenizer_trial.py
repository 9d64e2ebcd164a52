"""Tokenizers from outside are tried in a short-lived process before they are opened in ours.

A tokenizer.json is a small program for a library written in Rust. One can make the library
panic, end the process for want of memory, or match a pattern for ever, and none of that can be
caught here. So a file that is not one of ours is first loaded by a child that has little time
and memory, and gives it texts of many kinds. What passed is remembered by its SHA-256.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

from ftjax.errors import UserError
from ftjax.io.files.cache_folder import cache_folder

SECONDS = 60.0
"""Processor time of the child; a vocabulary of 250,000 pieces takes about two."""
PATIENCE = 4.0
"""How many times as long it may take by the clock, where the machine is busy."""
LARGEST = 256 * 2**20
"""Bytes of a tokenizer.json; the largest on the hub have about 40 MB."""
_CHILD = pathlib.Path(__file__).with_name('tokenizer_child.py')
_OURS = pathlib.Path(__file__).resolve().parents[1] / 'pretrained' / 'weights'


def try_tokenizer(text: str, path: pathlib.Path | str) -> None:
    """Refuses the text of a tokenizer.json that would harm the process.

    Raises:
      UserError: naming `path` and what the library did.
    """
    if len(text) > LARGEST:
        raise UserError(f'{path} is no tokenizer: it has more than {LARGEST} bytes')
    data = text.encode(errors='surrogatepass')
    digest = hashlib.sha256(data).hexdigest()
    if digest in _ours() or _remembered(digest):
        return
    _check(data, str(path))
    _remember(digest)


def in_one_line(error: BaseException) -> str:
    """What the library says; a panic is no Exception, so callers catch more than those."""
    return ' '.join(str(error).split())[:200] or type(error).__name__


def _check(data: bytes, path: str) -> None:
    environment = {**os.environ, 'RAYON_NUM_THREADS': '1', 'RUST_BACKTRACE': '0'}
    environment['TOKENIZERS_PARALLELISM'] = 'false'
    command = [sys.executable, '-P', str(_CHILD), str(int(SECONDS))]
    try:
        done = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=PATIENCE * SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f'{path} is no usable tokenizer: a few texts take it more than {SECONDS:g} s'
        ) from None
    except OSError as error:
        raise UserError(f'cannot start a process to try {path}: {error.strerror}') from None
    if done.returncode == 0:
        return
    said = done.stdout.decode(errors='replace').strip().splitlines()
    if said and said[-1].startswith('refused: '):
        raise UserError(f'{path} is no tokenizer: {said[-1].removeprefix("refused: ")}')
    raise UserError(
        f'{path} is no usable tokenizer: the library ended its process over it '
        f'({_last_words(done)})'
    )


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """The line of its complaint, or how it ended."""
    lines = done.stderr.decode(errors='replace').splitlines()
    found = [line for line in lines if re.match('memory allocation|Error|[A-Z]\\w+Error', line)]
    ending = f'signal {-done.returncode}' if done.returncode < 0 else f'code {done.returncode}'
    return found[-1][:200] if found else ending


@functools.cache
def _ours() -> frozenset[str]:
    """Hashes of the tokenizers that come with ftjax."""
    files = sorted(_OURS.glob('*/tokenizer.json'))
    return frozenset(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


_passed: set[str] = set()


def _remembered(digest: str) -> bool:
    if digest not in _passed:
        try:
            if _note(digest).exists():
                _passed.add(digest)
        except (OSError, RuntimeError):  # no home to have a cache in
            return False
    return digest in _passed


def _remember(digest: str) -> None:
    _passed.add(digest)
    try:
        note = _note(digest)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    except (OSError, RuntimeError):  # then the next process tries it again
        pass


def _note(digest: str) -> pathlib.Path:
    # Another version of the library, or of the trial, may judge otherwise.
    version = f'{importlib.metadata.version("tokenizers")}-{_trial_version()}'
    return cache_folder() / 'tried-tokenizers' / version / digest


@functools.cache
def _trial_version() -> str:
    return hashlib.sha256(_CHILD.read_bytes()).hexdigest()[:12]
