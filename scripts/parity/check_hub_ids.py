"""Holds repositories of the hub against their families: hub_ids.json and results/parity/hub_ids.md.

    python scripts/parity/check_hub_ids.py [--only=google-bert/bert-base-uncased]
    python scripts/parity/check_hub_ids.py --page

Needs a connection; no weights are fetched. For each repository in
ftjax/pretrained/locate/hub_ids.json config.json and the headers of its safetensors are read, and
every field and every tensor must be accounted for. What fits gets the SHA-256 of its config.json
and the commit; what does not is printed, and keeps what it had. `--page` writes the page alone,
from the file as it is, without a connection.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib

from absl import flags

from ftjax.cli import launch
from ftjax.errors import UserError, check_name
from ftjax.pretrained import families
from ftjax.pretrained.locate.hub_ids import FILE, HubId, hub_ids

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / 'results' / 'parity' / 'hub_ids.md'
ONLY = flags.DEFINE_list('only', None, 'Repositories; all if left out.')
PAGE_ONLY = flags.DEFINE_bool('page', False, 'Write the page from the file, and end.')


def main() -> None:
    rows = dict(hub_ids())
    for name in [] if PAGE_ONLY.value else ONLY.value or list(rows):
        row = rows[check_name(name, rows, 'repository')]
        try:
            rows[name] = checked(row)
            print(f'{name}: fits')
        except UserError as error:
            print(f'{name}: {error}')
    FILE.write_text(json.dumps([dataclasses.asdict(row) for row in rows.values()], indent=1) + '\n')
    PAGE.write_text(page(list(rows.values())))
    print(f'wrote {FILE} and {PAGE}')


def checked(row: HubId) -> HubId:
    """The row with the hash and the commit of what fits; UserError if it does not."""
    from ftjax.pretrained.inspection import inspect
    from ftjax.pretrained.locate.hub import fetch

    folder, commit = fetch(f'hf://{row.id}', weights=False)
    inspect(f'hf://{row.id}@{commit}')
    data = (folder / 'config.json').read_bytes()
    return dataclasses.replace(row, config_sha256=hashlib.sha256(data).hexdigest(), revision=commit)


def page(rows: list[HubId]) -> str:
    """The table for people."""
    count = sum(row.config_sha256 is not None for row in rows)
    lines = [
        '# Repositories of the hub, by family',
        '',
        f'{count} of {len(rows)} were held against their family by '
        '`python scripts/parity/check_hub_ids.py`, which needs a',
        'connection: config.json and the names and shapes of all tensors are accounted for, with',
        'no weights fetched. A row without a hash was not: that its family opens it follows from',
        'the model type that it is published as, and from nothing that was done here.',
        '',
        '| family | model type | repository | SHA-256 of config.json | commit |',
        '|---|---|---|---|---|',
    ]
    for row in rows:
        family = families.family_of_config({'model_type': row.model_type})
        found = (row.config_sha256 or 'not checked', row.revision or '')
        lines.append(f'| {family} | {row.model_type} | {row.id} | {" | ".join(found)} |')
    return '\n'.join([*lines, ''])


if __name__ == '__main__':
    launch.run(main)
