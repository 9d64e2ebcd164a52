"""A WordPiece vocabulary made from the training texts, for networks that start from nothing."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterable

from ftjax.errors import UserError
from ftjax.io.files.cache_folder import cache_folder
from ftjax.io.files.owned_files import whole_file

PREFIX = 'wordpiece:'
_FEWEST = 100  # tokens; the letters and the special tokens alone take about as many


def wanted_size(setting: str) -> int | None:
    """SIZE of a `data.tokenizer` of the form `wordpiece:SIZE`; None for any other.

    Raises:
      UserError: SIZE is no whole number, or too small to spell words with; another word stands
        before it, and it is no file.

    >>> wanted_size('wordpiece:2048'), wanted_size('folder/tokenizer.json')
    (2048, None)
    """
    if not setting.startswith(PREFIX):
        if setting.rpartition(':')[2].isdecimal() and not pathlib.Path(setting).exists():
            raise UserError(f'data.tokenizer {setting!r}: no such file; did you mean {PREFIX}SIZE?')
        return None
    size = setting.removeprefix(PREFIX)
    if not size.isdecimal() or int(size) < _FEWEST:
        raise UserError(f'data.tokenizer {setting!r}: expected wordpiece:SIZE, SIZE >= {_FEWEST}')
    return int(size)


def trained_tokenizer(texts: Iterable[str], size: int) -> pathlib.Path:
    """The tokenizer.json of an uncased BERT tokenizer trained on some texts.

    It is kept under the hash of the texts and the size, below `cache_folder()`, and found again
    there; a network that is saved has a copy beside it.

    Args:
      texts: what to learn the pieces from.
      size: tokens at most, the five special ones included.

    Raises:
      UserError: the file cannot be written.

    Source: WordPiece as in Devlin et al. 2019, arXiv:1810.04805; trained by `tokenizers`.
    """
    import tokenizers

    texts = list(texts)
    digest = hashlib.sha256(f'{tokenizers.__version__} {size}'.encode())
    for text in texts:
        data = text.encode('utf-8', 'surrogatepass')
        digest.update(f'{len(data)}:'.encode() + data)
    path = cache_folder() / 'tokenizers' / f'{digest.hexdigest()}.json'
    if path.is_file():
        return path
    try:
        with whole_file(path) as file:
            file.write(_trained(texts, size).encode())
    except UserError as error:
        raise UserError(f'{error}; FTJAX_CACHE names another folder') from error
    return path


def _trained(texts: list[str], size: int) -> str:
    from tokenizers.implementations import BertWordPieceTokenizer
    from tokenizers.processors import BertProcessing

    tokenizer = BertWordPieceTokenizer(lowercase=True)
    # Rare letters are left to [UNK]: each would cost a row that a whole word could have.
    letters = max(_FEWEST, size // 10)
    tokenizer.train_from_iterator(
        iter(texts), vocab_size=size, limit_alphabet=letters, show_progress=False
    )
    vocabulary = tokenizer.get_vocab()
    sep, cls = ((name, vocabulary[name]) for name in ('[SEP]', '[CLS]'))
    tokenizer.post_processor = BertProcessing(sep, cls)  # training alone sets none
    return tokenizer.to_str()
