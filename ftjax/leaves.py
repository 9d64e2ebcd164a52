"""Variables as a flat dict by leaf key, `params/block_00/attn/query/kernel`, and back."""

from __future__ import annotations

from collections.abc import Mapping

from flax.traverse_util import flatten_dict, unflatten_dict

from ftjax.pytrees import Flat, Variables


def flatten(variables: Variables) -> Flat:
    """{'params': {'head': {'bias': x}}} -> {'params/head/bias': x}; empty dicts are dropped."""
    return dict(flatten_dict(dict(variables), sep='/'))


def unflatten(leaves: Mapping[str, object]) -> dict[str, object]:
    """The inverse of `flatten`.

    >>> unflatten({'params/head/bias': 0})
    {'params': {'head': {'bias': 0}}}
    """
    return dict(unflatten_dict(dict(leaves), sep='/'))


def stage_of(key: str) -> str:
    """The stage of a leaf key: 'head' of 'params/head/dense/kernel'."""
    return key.split('/')[1]
