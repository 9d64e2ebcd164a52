"""Leaves that weight decay leaves alone, beside vectors."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import Term
from ftjax.freezing.settings import FreezeSettings


def spared_leaves(terms: Iterable[Term], settings: FreezeSettings, net: Anatomy) -> frozenset[str]:
    """Those that `freeze.undecayed` matches, and those that strategies spare by themselves.

    Raises:
      UserError: `freeze.undecayed` is no regular expression, or matches no leaf.
    """
    given = settings.undecayed
    try:
        own = net.matching(given) if given else frozenset[str]()
    except re.error as error:
        raise UserError(f'freeze.undecayed {given!r} is no regular expression: {error}') from error
    if given and not own:
        some = ', '.join(sorted(net.shapes)[:3])
        raise UserError(
            f'freeze.undecayed {given!r} matches no leaf of the network; paths are {some} and so on'
        )
    patterns = {term.details.undecayed for term in terms} - {''}
    return own.union(*(net.matching(pattern) for pattern in patterns))
