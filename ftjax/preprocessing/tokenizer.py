"""A checkpoint's tokenizer: tokenizer.json, or the vocab.txt of an older BERT."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import TYPE_CHECKING, Any

from ftjax.errors import UserError
from ftjax.io.files.regular_files import read_bytes
from ftjax.io.json.json_reader import LENIENT, parse_json, read_object
from ftjax.io.json.json_values import Either, Flag, Kind, Null, Table, Text, check_table, optional
from ftjax.preprocessing.tokenizer_trial import LARGEST, in_one_line, try_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.implementations import BertWordPieceTokenizer

GENERIC = ('PreTrainedTokenizerFast', 'TokenizersBackend')
"""Classes of transformers, of 4 and of 5, that take a tokenizer.json as it is."""
_FLAGS = {
    'do_lower_case': 'lowercase',
    'strip_accents': 'strip_accents',
    'tokenize_chinese_chars': 'handle_chinese_chars',
}
FILES = ('tokenizer.json', 'vocab.txt')
"""What is read, the first that is there."""
_TOKEN = Either(Text(), Table(), Null())
_KINDS: dict[str, Kind] = {
    'pad_token': _TOKEN,
    'mask_token': _TOKEN,
    'eos_token': _TOKEN,
    'do_lower_case': optional(Flag()),
    'strip_accents': optional(Flag()),
    'tokenize_chinese_chars': optional(Flag()),
}


def tokenizer_file(folder: pathlib.Path) -> pathlib.Path | None:
    """The file in a checkpoint's folder that its tokenizer is made from; None without one."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def tokenizer_json(path: pathlib.Path) -> str:
    """The tokenizer as the text of a tokenizer.json, made from a vocab.txt where that is all.

    Raises:
      UserError: the file cannot be read, or is no tokenizer.
    """
    try:
        if path.name == 'vocab.txt':
            return _wordpiece(path).to_str()
        text = read_bytes(path, LARGEST).decode('utf-8')
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{path} cannot be read as a tokenizer: {reason}') from error
    return _with_flags(text, path)


def _with_flags(text: str, path: pathlib.Path) -> str:
    """A tokenizer.json with the flags of tokenizer_config.json, where those are of its class.

    Both files of a BERT say whether it lower-cases; transformers 4 and 5 go by the latter
    (BertTokenizer, and those of its relatives). Text without a disagreement stays as it is.
    """
    config = tokenizer_config(path.parent)
    flags = {ours: config[theirs] for theirs, ours in _FLAGS.items() if theirs in config}
    if not flags or config.get('tokenizer_class') in GENERIC:
        return text
    try:
        found = parse_json(text, str(path), LENIENT)
    except UserError:
        return text  # told where it is opened
    normalizer = found.get('normalizer') if isinstance(found, dict) else None
    if not isinstance(normalizer, dict) or normalizer.get('type') != 'BertNormalizer':
        return text
    # Null leaves accents to `lowercase`, and says nothing of the others.
    flags = {k: v for k, v in flags.items() if v is not None or k == 'strip_accents'}
    if all(normalizer.get(name) == flag for name, flag in flags.items()):
        return text
    return json.dumps({**found, 'normalizer': {**normalizer, **flags}}, ensure_ascii=False)


def digest(text: str) -> str:
    """SHA-256 (hex) of a tokenizer.json's text, which identifies a tokenizer."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_digest(text: str, sha256: str, path: pathlib.Path | str) -> None:
    """Raises UserError unless the text of a tokenizer.json has this SHA-256."""
    if digest(text) != sha256:
        raise UserError(
            f'{path} is not the tokenizer that the network was saved or loaded with: its SHA-256 '
            f'starts with {digest(text)[:12]}, not {sha256[:12]}; it is damaged, or another one'
        )


def open_tokenizer(path: pathlib.Path | str) -> Tokenizer:
    """The `tokenizers.Tokenizer` of a tokenizer.json or vocab.txt; UserError if it is none."""
    return parse_tokenizer(tokenizer_json(pathlib.Path(path)), path)


def parse_tokenizer(text: str, path: pathlib.Path | str) -> Tokenizer:
    """A `tokenizers.Tokenizer` from JSON, without the padding and truncation named there.

    Raises:
      UserError: naming `path`, if the text is no tokenizer.
    """
    from tokenizers import Tokenizer

    try_tokenizer(text, path)
    try:
        tokenizer = Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library's panics are no Exceptions
        raise UserError(f'{path} is no tokenizer: {in_one_line(error)}') from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def special_id(tokenizer: Tokenizer, role: str, config: dict[str, object]) -> int | None:
    """The id of the 'pad', 'mask' or 'eos' token; None if the tokenizer has none.

    Args:
      tokenizer: from `open_tokenizer`.
      role: which one.
      config: of tokenizer_config.json, which names them; usual names are tried after.
    """
    named = config.get(f'{role}_token')
    named = named.get('content') if isinstance(named, dict) else named
    usual = {'eos': ('</s>', '<|endoftext|>')}.get(role, ())
    for name in (named, f'[{role.upper()}]', f'<{role}>', *usual):
        found = tokenizer.token_to_id(name) if isinstance(name, str) else None
        if found is not None:
            return found
    return None


def tokenizer_config(folder: pathlib.Path) -> dict[str, Any]:
    """tokenizer_config.json as a dict; {} where it is missing.

    Raises:
      UserError: it cannot be read, or a field that is read here is not of its kind.
    """
    file = folder / 'tokenizer_config.json'
    if not file.exists():
        return {}
    found = read_object(file, LENIENT)
    check_table(found, _KINDS, str(file))
    return found


def _wordpiece(path: pathlib.Path) -> BertWordPieceTokenizer:
    from tokenizers.implementations import BertWordPieceTokenizer

    words = read_bytes(path, LARGEST).decode('utf-8').splitlines()
    missing = [name for name in ('[UNK]', '[CLS]', '[SEP]') if name not in words]
    if missing:
        raise UserError(f'{path}: no {missing[0]} in it, so it is not the vocabulary of a BERT')
    config = tokenizer_config(path.parent)
    return BertWordPieceTokenizer(
        str(path),
        lowercase=bool(config.get('do_lower_case', True)),
        strip_accents=config.get('strip_accents'),
        handle_chinese_chars=bool(config.get('tokenize_chinese_chars', True)),
    )
