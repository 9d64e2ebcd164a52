"""Repositories of the hub that each family is meant for, and which were held against it.

hub_ids.json is written by scripts/parity/check_hub_ids.py: the SHA-256 of the config.json with
which a repository's configuration and tensor names were found to fit, null where nobody has
asked the hub yet. Nothing is fetched here.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib

from ftjax.pretrained.locate.hub import parse

FILE = pathlib.Path(__file__).with_suffix('.json')


@dataclasses.dataclass(frozen=True)
class HubId:
    """One repository."""

    id: str
    model_type: str
    config_sha256: str | None
    """Of the config.json that was checked; None for not checked."""
    revision: str | None
    """The commit that was checked."""


@functools.cache
def hub_ids() -> dict[str, HubId]:
    """Repository -> what is known of it."""
    rows = json.loads(FILE.read_text(encoding='utf-8'))
    return {row['id']: HubId(**row) for row in rows}


def checked_note(address: str, config: pathlib.Path) -> str | None:
    """What the load report says of a repository's config.json; None where nobody checked it.

    `address` is any init string; only hf:// ones are of the hub.
    """
    address = address.removeprefix('random:')
    known = hub_ids().get(parse(address).repository) if address.startswith('hf://') else None
    if known is None or known.config_sha256 is None or not config.exists():
        return None
    if hashlib.sha256(config.read_bytes()).hexdigest() == known.config_sha256:
        return f'config.json: the one that was checked with {known.id} ({known.revision})'
    return (
        f'config.json: not the one that was checked with {known.id} ({known.revision}); it has '
        'changed since'
    )
