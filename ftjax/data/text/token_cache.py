"""Tokenised texts kept on disk under the hash of all that they depend on.

A file is `tokens/HASH.npz` below $FTJAX_CACHE, $XDG_CACHE_HOME/ftjax or ~/.cache/ftjax. It can
be deleted at any time. One that is damaged is made again; a folder that cannot be written to
is passed over.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import pathlib
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.text.tokenize import Tokens, tokenize
from ftjax.errors import UserError
from ftjax.io.files.cache_folder import cache_folder
from ftjax.io.files.owned_files import whole_file

if TYPE_CHECKING:
    from ftjax.preprocessing.texts import TextPreprocessing

_VERSION = 2  # of what a file holds; a change of `tokenize` or of the fields raises it
_FIELDS = tuple(field.name for field in dataclasses.fields(Tokens))
_DTYPES = {
    'ids': np.int32,
    'types': np.uint8,
    'special': np.uint8,
    'starts': np.int64,
    'cut': np.uint8,
}


def cached_tokens(
    texts: np.ndarray, preprocessing: TextPreprocessing, name: str = 'texts'
) -> Tokens:
    """The tokens of texts (N,) or pairs (N, 2), from disk if they were made before.

    `name` is of the data, for messages.

    Raises:
      UserError: as `tokenize` does.
    """
    path = cache_folder() / 'tokens' / f'{key_of(texts, preprocessing)}.npz'
    tokens = _read(path)
    if tokens is None or len(tokens) != len(texts):
        tokens = tokenize(texts, preprocessing, name)
        _write(path, tokens)
    return tokens


def key_of(texts: np.ndarray, preprocessing: TextPreprocessing) -> str:
    """SHA-256 (hex) of the texts, the tokenizer and the settings that decide the tokens."""
    import tokenizers

    digest = hashlib.sha256()
    settings: dict[str, object] = {
        'version': _VERSION,
        'library': tokenizers.__version__,
        'tokenizer': preprocessing.sha256,
        'max_length': preprocessing.max_length,
        'separator': preprocessing.separator,
        'pad_id': preprocessing.pad_id,
        'vocab_size': preprocessing.vocab_size,
        'shape': list(texts.shape),
    }
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for text in texts.reshape(-1):
        data = text.encode('utf-8', 'surrogatepass')
        digest.update(f'{len(data)}:'.encode() + data)
    return digest.hexdigest()


def _read(path: pathlib.Path) -> Tokens | None:
    """The tokens in a file; None if it is not there, damaged or not what was written."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*_FIELDS, 'checksum')}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        arrays = {}
    if not arrays or bytes(arrays.pop('checksum')) != _checksum(arrays):
        logging.getLogger('ftjax').warning('%s is damaged; tokenising again', path)
        return None
    return Tokens(**arrays)


def _write(path: pathlib.Path, tokens: Tokens) -> None:
    """Keeps the tokens in one step, so that no other process reads half a file."""
    arrays = {name: getattr(tokens, name).astype(_DTYPES[name]) for name in _FIELDS}
    sum_ = np.frombuffer(_checksum(arrays), np.uint8)
    try:
        with whole_file(path) as file:
            np.savez(file, **arrays, checksum=sum_)
    except UserError as error:
        logging.getLogger('ftjax').info('tokens are not kept: %s', error)


def _checksum(arrays: dict[str, np.ndarray]) -> bytes:
    digest = hashlib.sha256()
    for name in _FIELDS:
        array = arrays[name]
        digest.update(f'{name} {array.dtype.str} {array.shape} '.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
