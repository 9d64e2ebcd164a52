"""A tokenizer made from the training texts, for networks that start from nothing."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterable
from typing import Any

from ftjax.errors import UserError
from ftjax.io.files.cache_folder import cache_folder
from ftjax.io.files.owned_files import whole_file

PREFIX = 'wordpiece:'
BYTES = 'bytes:'
END = '<|endoftext|>'
"""The token that ends a text, of a tokenizer of bytes."""
# The letters and the special tokens alone take about as many; of bytes there are 256.
_FEWEST = {PREFIX: 100, BYTES: 300}


def wanted(setting: str) -> tuple[str, int] | None:
    """(prefix, SIZE) of a `data.tokenizer` of the form `wordpiece:SIZE` or `bytes:SIZE`.

    None for any other.

    Raises:
      UserError: SIZE is no whole number, or too small to spell words with; another word stands
        before it, and it is no file.

    >>> wanted('wordpiece:2048'), wanted('folder/tokenizer.json')
    (('wordpiece:', 2048), None)
    """
    prefix = next((prefix for prefix in _FEWEST if setting.startswith(prefix)), None)
    if prefix is None:
        if setting.rpartition(':')[2].isdecimal() and not pathlib.Path(setting).exists():
            raise UserError(f'data.tokenizer {setting!r}: no such file; did you mean {PREFIX}SIZE?')
        return None
    size, fewest = setting.removeprefix(prefix), _FEWEST[prefix]
    if not size.isdecimal() or int(size) < fewest:
        raise UserError(f'data.tokenizer {setting!r}: expected {prefix}SIZE, SIZE >= {fewest}')
    return prefix, int(size)


def trained_tokenizer(texts: Iterable[str], size: int, prefix: str = PREFIX) -> pathlib.Path:
    """The tokenizer.json of a tokenizer trained on some texts.

    `wordpiece:` is an uncased BERT's. `bytes:` is GPT-2's: it spells any text, and keeps every
    space and capital.

    It is kept under the hash of the texts and the size, below `cache_folder()`, and found again
    there; a network that is saved has a copy beside it.

    Args:
      texts: what to learn the pieces from.
      size: tokens at most, the special ones included.
      prefix: which kind.

    Raises:
      UserError: the file cannot be written.

    Source: WordPiece as in Devlin et al. 2019, arXiv:1810.04805; pairs of bytes as in Radford et
    al. 2019; trained by `tokenizers`.
    """
    import tokenizers

    texts = list(texts)
    kind = '' if prefix == PREFIX else prefix
    digest = hashlib.sha256(f'{kind}{tokenizers.__version__} {size}'.encode())
    for text in texts:
        data = text.encode('utf-8', 'surrogatepass')
        digest.update(f'{len(data)}:'.encode() + data)
    path = cache_folder() / 'tokenizers' / f'{digest.hexdigest()}.json'
    if path.is_file():
        return path
    try:
        with whole_file(path) as file:
            file.write((_bytes if prefix == BYTES else _wordpiece)(texts, size).encode())
    except UserError as error:
        raise UserError(f'{error}; FTJAX_CACHE names another folder') from error
    return path


def _bytes(texts: list[str], size: int) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(iter(texts), trainer)
    return tokenizer.to_str()


def _wordpiece(texts: list[str], size: int) -> str:
    from tokenizers.implementations import BertWordPieceTokenizer
    from tokenizers.processors import BertProcessing

    tokenizer = BertWordPieceTokenizer(lowercase=True)
    # Rare letters are left to [UNK]: each would cost a row that a whole word could have.
    letters = max(_FEWEST[PREFIX], size // 10)
    tokenizer.train_from_iterator(
        iter(texts), vocab_size=size, limit_alphabet=letters, show_progress=False
    )
    vocabulary = tokenizer.get_vocab()
    sep, cls = ((name, vocabulary[name]) for name in ('[SEP]', '[CLS]'))
    tokenizer.post_processor = BertProcessing(sep, cls)  # training alone sets none
    return tokenizer.to_str()
