"""Masked tokens: a network is to guess words of a sentence that it does not see."""

from __future__ import annotations

import numpy as np

NOT_ASKED = -1
"""The label of a token that is not to be guessed."""
SHARE = 0.15
_AS_MASK, _AS_RANDOM = 0.8, 0.1  # the rest stay as they are


def hide_tokens(
    ids: np.ndarray,
    special: np.ndarray,
    rng: np.random.Generator,
    mask_id: int,
    ordinary: np.ndarray,
    share: float = SHARE,
) -> tuple[np.ndarray, np.ndarray]:
    """Picks tokens of a text to be guessed, and hides most of them.

    Exactly round(share * n) of the n ordinary tokens are picked, at least one. Of these each
    becomes the mask token with probability .8, a random ordinary token with .1, and stays as it
    is with .1, so that a network cannot rely on seeing which ones it will be asked for.

    Args:
      ids: int32 (tokens,); padding may follow the text.
      special: (tokens,) true for padding and for what the tokenizer added.
      rng: the draws do not depend on how much padding there is.
      mask_id: of the mask token.
      ordinary: int (n,), ascending, the ids that are no special tokens.
      share: of the ordinary tokens.

    Returns:
      The ids to show, int32 (tokens,), and the labels: the true id where a token was picked,
      NOT_ASKED elsewhere.

    Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1 and appendix A.1; picking an exact
    number is from the released code. There a random token may be a special one too.
    """
    places = np.flatnonzero((special == 0) & np.isin(ids, ordinary))
    labels = np.full(len(ids), NOT_ASKED, np.int32)
    shown = np.array(ids, np.int32)
    if not len(places):
        return shown, labels
    picked = rng.choice(places, max(1, round(share * len(places))), replace=False)
    labels[picked] = ids[picked]
    fate = rng.random(len(picked))
    shown[picked[fate < _AS_MASK]] = mask_id
    changed = picked[(fate >= _AS_MASK) & (fate < _AS_MASK + _AS_RANDOM)]
    shown[changed] = ordinary[rng.integers(len(ordinary), size=len(changed))]
    return shown, labels
