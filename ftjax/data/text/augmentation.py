"""Random changes of training texts, on the host: of the words before tokenisation, of ids after.

Each is a pure function of a generator, and that of (seed, step, example). They come in the
order in which `data.augment` names them, but masking always last: it needs the ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.data.augmentation import Augmentation, Parsed, known, of_kind
from ftjax.errors import UserError
from ftjax.ranges import between
from ftjax.registry import Term, register

WORDS = Augmentation('words')
SHARE = between(0, 1)
_LETTERS = 'abcdefghijklmnopqrstuvwxyz'


@register('augmentation', 'word_deletion', details=WORDS, ranges={'probability': SHARE})
def word_deletion(text: str, rng: np.random.Generator, probability: float = 0.1) -> str:
    """Leaves out each word with a probability; one always stays.

    Source: Wei & Zou 2019 (EDA), arXiv:1901.11196, section 2, random deletion.
    """
    words = text.split()
    if len(words) < 2:
        return text
    keep = rng.random(len(words)) >= probability
    keep[rng.integers(len(words))] |= not keep.any()
    return ' '.join(word for word, kept in zip(words, keep, strict=True) if kept)


@register('augmentation', 'word_swap', details=WORDS, ranges={'share': SHARE})
def word_swap(text: str, rng: np.random.Generator, share: float = 0.1) -> str:
    """Exchanges two random words, as often as this share of the words, at least once.

    Source: Wei & Zou 2019 (EDA), arXiv:1901.11196, section 2, random swap.
    """
    words = text.split()
    if len(words) < 2 or not share:
        return text
    for _ in range(max(1, round(share * len(words)))):
        one, two = rng.choice(len(words), 2, replace=False)
        words[one], words[two] = words[two], words[one]
    return ' '.join(words)


@register('augmentation', 'character_noise', details=WORDS, ranges={'probability': SHARE})
def character_noise(text: str, rng: np.random.Generator, probability: float = 0.02) -> str:
    """Inserts a random letter a-z after each character of a word with a probability.

    Source: Pruthi et al. 2019, arXiv:1905.11268, the character additions.
    """
    hit = rng.random(len(text)) < probability
    letters = rng.integers(len(_LETTERS), size=len(text))
    return ''.join(
        c + _LETTERS[letter] if noisy and not c.isspace() else c
        for c, noisy, letter in zip(text, hit, letters, strict=True)
    )


@register(
    'augmentation',
    'token_mask',
    details=Augmentation('tokens'),
    ranges={'probability': SHARE},
    probability=0.15,
)
def mask_tokens(
    ids: np.ndarray,
    special: np.ndarray,
    rng: np.random.Generator,
    probability: float,
    mask_id: int,
) -> np.ndarray:
    """Replaces each token with a probability by the mask token; special tokens stay.

    Args:
      ids: int32 (tokens,).
      special: (tokens,) true for what the tokenizer added.
      rng, probability: one draw a token.
      mask_id: of the mask token.

    Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1 (only the masking itself).
    """
    hit = (rng.random(len(ids)) < probability) & (special == 0)
    return np.where(hit, mask_id, ids).astype(np.int32)


@register(
    'augmentation',
    'span_mask',
    details=Augmentation('tokens'),
    ranges={'probability': SHARE, 'length': between(1, 64)},
    probability=0.15,
    length=3.0,
)
def mask_spans(
    ids: np.ndarray,
    special: np.ndarray,
    rng: np.random.Generator,
    probability: float,
    length: float,
    mask_id: int,
) -> np.ndarray:
    """Masks spans of tokens of this mean length, geometric, until a share of the text is masked.

    Special tokens stay and end a span, so that none reaches from one text of a pair into the
    other. Source: Joshi et al. 2020 (SpanBERT), arXiv:1907.10529, section 3.1 (spans of tokens,
    at most 10; every one is masked).
    """
    free = np.flatnonzero(special == 0)
    wanted, hit = round(probability * len(free)), np.zeros(len(ids), bool)
    while hit.sum() < wanted:
        size = min(int(rng.geometric(1 / length)), 10, int(wanted - hit.sum()))
        start = int(rng.choice(free[~hit[free]]))
        for place in range(start, min(start + size, len(ids))):
            if special[place]:
                break
            hit[place] = True
    return np.where(hit, mask_id, ids).astype(np.int32)


@register(
    'augmentation',
    'token_replace',
    details=Augmentation('tokens'),
    ranges={'probability': SHARE},
    probability=0.1,
)
def replace_tokens(
    ids: np.ndarray,
    special: np.ndarray,
    rng: np.random.Generator,
    probability: float,
    mask_id: int,
) -> np.ndarray:
    """Replaces each token with a probability by another token of the same text, or pair.

    No word comes in that the text has not, and its length stays. Source: the unigram noising of
    Xie et al. 2017, arXiv:1703.02573, section 3.2, with the text's own frequencies.
    """
    free = np.flatnonzero(special == 0)
    if not len(free):
        return ids
    hit = free[rng.random(len(free)) < probability]
    changed = ids.copy()
    changed[hit] = ids[rng.choice(free, len(hit))]
    return changed


def augment_text(text: str, rng: np.random.Generator, todo: Sequence[Term]) -> str:
    """The text after the augmentations of words among `todo`, in order.

    >>> from ftjax.data.augmentation import parse_augment
    >>> augment_text('one two', np.random.default_rng(0), parse_augment('word_swap:0.1'))
    'two one'
    """
    for term in of_kind(todo, 'words'):
        text = term(text, rng)
    return text


def check_text_augmentation(todo: Parsed, mask_id: int | None) -> None:
    """Raises UserError for an augmentation of images, or masking without a mask token."""
    for term in of_kind(todo, 'images', 'batches'):
        raise UserError(
            f'data.augment {term.name!r} is for images; for texts there are '
            f"{known('words', 'tokens')}, and 'none'"
        )
    for term in of_kind(todo, 'tokens') if mask_id is None else ():
        raise UserError(f'data.augment {term.name!r}: the tokenizer has no mask token')
