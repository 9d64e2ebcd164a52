"""What a network expects of its input texts; it travels with the weights."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftjax.errors import UserError, check_name
from ftjax.io.json.json_values import Flag, Integer, Kind, ListOf, Text, check_table, optional
from ftjax.preprocessing.chat_template import LONGEST, ChatTemplate, read_chat_template
from ftjax.preprocessing.tokenizer import (
    check_digest,
    digest,
    open_tokenizer,
    parse_tokenizer,
    special_id,
    tokenizer_config,
    tokenizer_file,
    tokenizer_json,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ftjax.models.stages import Network

LENGTHS = (16, 32, 64, 128, 256, 512)
"""Lengths that batches are padded to, in tokens, where nothing else is asked for."""
_LONGEST = 512  # tokens; a network may have positions for far more than fit a batch
_KIND = 'text'  # in JSON, tells these fields from those of images
FORMS = ('joined', 'apart', 'choices', 'words')
"""What an example's texts become: one row of tokens; a row each; rows of the first with each of the
others; or a text is words that are tokenised one by one, in windows where they are many."""
_ROW = Integer(0, 2**31 - 1)
_KINDS: dict[str, Kind] = {
    'tokenizer': Text(),
    'sha256': Text(),
    'vocab_size': Integer(1, 2**31 - 1),
    'max_length': _ROW,
    'buckets': ListOf(Integer(1, 2**31 - 1)),
    'pad_id': _ROW,
    'mask_id': optional(_ROW),
    'token_types': Flag(),
    'separator': optional(Text()),
    'end_id': optional(_ROW),
    'chat_template': optional(Text(longest=LONGEST)),
    'chat_tokens': ListOf(ListOf(Text(), 2, 2)),
    'form': Text(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextPreprocessing:
    """Tokenise, cut to `max_length`, pad on the right to the smallest bucket that holds a batch.

    Each bucket is a shape that programs are compiled for, so there are few. Two are equal if
    they do the same to every text, wherever the tokenizer lies.

    >>> text = TextPreprocessing(tokenizer='t.json', sha256='', vocab_size=9, max_length=48)
    >>> text.buckets
    (16, 32, 48)
    """

    tokenizer: str = dataclasses.field(compare=False)
    """Path of the tokenizer.json, or of the vocab.txt of an older BERT."""
    sha256: str
    """Of the tokenizer.json's text."""
    vocab_size: int
    """Rows of the network's table: token ids are below it."""
    max_length: int = 128
    """Tokens that are kept of a text or pair, those that the tokenizer adds included."""
    buckets: tuple[int, ...] = ()
    """Ascending, the last one max_length; () for those of LENGTHS below it, and itself."""
    pad_id: int = 0
    mask_id: int | None = None
    """Id of the token that replaces a hidden one; None if the tokenizer has none."""
    token_types: bool = False
    """Whether `token_type_ids` mark the two texts of a pair."""
    separator: str | None = None
    """Put between the texts of a pair; None where the tokenizer has a form for pairs."""
    form: str = FORMS[0]
    """One of FORMS."""
    end_id: int | None = None
    """Id of the token that ends a text; None if the tokenizer has none."""
    chat_template: str | None = None
    """How conversations are written, in Jinja's language; None where nobody says."""
    chat_tokens: tuple[tuple[str, str], ...] = ()
    """Special tokens that the template may write, (name, token) each."""

    def __post_init__(self):
        check_table(dataclasses.asdict(self), _KINDS, 'preprocessing')
        check_name(self.form, FORMS, 'form of texts')
        if self.max_length < 4:
            raise UserError(f'max_length is {self.max_length} tokens; expected at least 4')
        buckets = tuple(self.buckets) or (
            *(length for length in LENGTHS if length < self.max_length),
            self.max_length,
        )
        if list(buckets) != sorted(set(buckets)) or buckets[-1] != self.max_length:
            raise UserError(
                f'buckets {buckets} must ascend and end in max_length {self.max_length}'
            )
        object.__setattr__(self, 'buckets', buckets)
        object.__setattr__(self, 'chat_tokens', tuple((a, b) for a, b in self.chat_tokens))

    def with_length(self, max_length: int | None) -> TextPreprocessing:
        """The same for texts of at most so many tokens, if that is fewer; None for no change."""
        if max_length is None or max_length >= self.max_length:
            return self
        buckets = (*(length for length in self.buckets if length < max_length), max_length)
        return dataclasses.replace(self, max_length=max_length, buckets=buckets)

    def of_length(self, max_length: int) -> TextPreprocessing:
        """The same for texts of at most so many tokens, be that fewer or more.

        Buckets above the longest one double, so that a text is padded to less than twice its
        length.
        """
        if max_length <= self.max_length:
            return self.with_length(max_length)
        doubles = [self.max_length, max_length]
        while doubles[-2] * 2 < max_length:
            doubles.insert(-1, doubles[-2] * 2)
        buckets = (*self.buckets[:-1], *doubles)
        return dataclasses.replace(self, max_length=max_length, buckets=buckets)

    @property
    def chat(self) -> ChatTemplate | None:
        """How conversations are written; None where the checkpoint says nothing."""
        if self.chat_template is None:
            return None
        return ChatTemplate(self.chat_template, self.chat_tokens)

    def open(self) -> Tokenizer:
        """The `tokenizers.Tokenizer`, cutting to max_length; UserError if it is not the same."""
        tokenizer = parse_tokenizer(self.tokenizer_json(), self.tokenizer)
        tokenizer.enable_truncation(self.max_length)
        return tokenizer

    def tokenizer_json(self) -> str:
        """The text of the tokenizer.json; UserError if it is no longer the same."""
        text = tokenizer_json(pathlib.Path(self.tokenizer))
        check_digest(text, self.sha256, self.tokenizer)
        return text

    def to_json(self) -> dict[str, Any]:
        """A plain dict without the path; `from_json` is the inverse."""
        fields = dataclasses.asdict(self)
        if self.form == FORMS[0]:  # as files had it before there were others
            del fields['form']
        for name in ('end_id', 'chat_template', 'chat_tokens'):  # only where there are any
            if not fields[name] and fields[name] != 0:
                del fields[name]
        return {'kind': _KIND, **fields, 'tokenizer': 'tokenizer.json', 'buckets': [*self.buckets]}

    @classmethod
    def from_json(
        cls, fields: Mapping[str, object], folder: str | os.PathLike[str]
    ) -> TextPreprocessing:
        """From a folder's config.json; raises UserError on fields unknown or missing."""
        given: dict[str, Any] = {key: value for key, value in fields.items() if key != 'kind'}
        known = dataclasses.fields(cls)
        for name in given:
            check_name(name, [field.name for field in known], 'preprocessing field')
        for field in known:
            if field.default is dataclasses.MISSING and field.name not in given:
                raise UserError(f'{folder}: preprocessing: {field.name} is missing')
        check_table(given, _KINDS, f'{folder}: preprocessing')
        name = pathlib.PurePath(given['tokenizer']).name  # never out of the folder
        given['tokenizer'] = str(pathlib.Path(folder) / name)
        return cls(**given)


def is_text(fields: Mapping[str, object] | None) -> bool:
    """Whether the JSON of a preprocessing is that of texts."""
    return fields is not None and fields.get('kind') == _KIND


def text_preprocessing(
    network: Network, tokenizer: str | os.PathLike[str]
) -> TextPreprocessing | None:
    """What a network and a tokenizer ask for together; None if the network takes no tokens.

    Args:
      network: decides the vocabulary, the longest text, token types and the padding's id.
      tokenizer: a tokenizer.json, a vocab.txt, or a folder that holds one.

    Raises:
      UserError: no tokenizer there, or one that cannot be read.
    """
    if network.vocab_size is None:
        return None
    path = pathlib.Path(tokenizer)
    found = tokenizer_file(path) if path.is_dir() else path
    if found is None:
        raise UserError(f'{path} holds no tokenizer.json')
    opened, config = open_tokenizer(found), tokenizer_config(found.parent)
    # Some decoders' -1 stands for none.
    given_pad = None if network.pad_id is None or network.pad_id < 0 else network.pad_id
    pads = (given_pad, *(special_id(opened, role, config) for role in ('pad', 'eos')), 0)
    ends = (special_id(opened, 'eos', config), *network.end_ids)
    chat = read_chat_template(found.parent, config)
    joined = opened.num_special_tokens_to_add(True) <= opened.num_special_tokens_to_add(False)
    return TextPreprocessing(
        tokenizer=str(found),
        sha256=digest(tokenizer_json(found)),
        vocab_size=network.vocab_size,
        max_length=min(network.longest_text or _LONGEST, _LONGEST),
        pad_id=next(pad for pad in pads if pad is not None),
        mask_id=special_id(opened, 'mask', config),
        token_types=network.token_types > 1,
        separator='\n' if joined else None,
        end_id=next((end for end in ends if end is not None), None),
        chat_template=None if chat is None else chat.text,
        chat_tokens=() if chat is None else chat.tokens,
    )


def text_preprocessing_of(
    network: Network, folder: pathlib.Path, saved: Mapping[str, object] | None = None
) -> tuple[TextPreprocessing | None, str]:
    """(for a checkpoint's folder, where it is from); None where it has no usable tokenizer.

    `saved` are the fields of our own config.json. Weights may be wanted without a tokenizer,
    so a missing or broken one is a note here, and an error where texts are to be read.
    """
    if is_text(saved):
        assert saved is not None
        return TextPreprocessing.from_json(saved, folder), 'config.json'
    found = tokenizer_file(folder)
    if found is None:
        return None, 'none: no tokenizer.json beside the weights'
    try:
        made = text_preprocessing(network, found)
    except UserError as error:
        return None, f'none: {error}'
    return made, found.name if made else 'takes no images and no tokens'
