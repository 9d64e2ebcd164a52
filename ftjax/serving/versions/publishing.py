"""Publishing: a bundle is verified, copied, and gets the next number, or nothing happens."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError, shown
from ftjax.serving.bundle.loaded_bundle import load
from ftjax.serving.bundle.manifest import MANIFEST
from ftjax.serving.bundle.run_facts import read_run_facts
from ftjax.serving.versions.registry import Damaged, Registry, create, made_now, writing
from ftjax.serving.versions.version_names import check_model_name
from ftjax.serving.versions.version_records import Event, Version, read_event, read_version

_LONGEST = 2000


@dataclasses.dataclass(frozen=True)
class Published:
    """What became of a publication."""

    version: Version
    new: bool
    """False where the same bytes had been published before: `version` is that one."""
    repaired: bool = False
    """Whether the stored files of that version were damaged, and are good again."""


def publish(
    registry: Registry | str | os.PathLike[str],
    bundle: str | os.PathLike[str],
    name: str,
    *,
    note: str = '',
    facts: Mapping[str, Any] | None = None,
) -> Published:
    """Makes a bundle the next version of a model.

    Args:
      registry: or its path or URL.
      bundle: its folder; hashes and golden outputs are checked first.
      name: of the model.
      note: what a person says of the version.
      facts: what a program says of it, as JSON: the version that it began from, for instance.

    Raises:
      UserError: no sound bundle, no such name, or the store cannot be written to; then the
        registry is as it was.
    """
    registry = registry if isinstance(registry, Registry) else Registry(os.fspath(registry))
    check_model_name(name)
    note = checked_note(note, 'the note')
    folder = pathlib.Path(bundle)
    loaded = load(folder)
    sizes = {file: row['bytes'] for file, row in loaded.manifest['files'].items()}
    draft = Version(
        name=name,
        number=1,
        sha256=loaded.digest,
        files={**sizes, MANIFEST: (folder / MANIFEST).stat().st_size},
        note=note,
        run=read_run_facts(folder),
        facts=dict(facts or {}),
        when='',
        who='',
    )
    with writing(registry), registry.store.publishing(name) as alone:
        known = registry.records(name, 'versions', read_version)
        if alone and not any(isinstance(one, Damaged) for one in known):
            kept = {one.sha256 for one in known if isinstance(one, Version)}
            registry.store.clean(f'{name}/bundles', kept)
            registry.store.clean(f'{name}/versions', registry.store.names(f'{name}/versions'))
        same = _same(known, draft.sha256)
        if same is not None:
            return Published(same, False, _stored(registry, folder, same))
        _stored(registry, folder, draft)
        return _numbered(registry, folder, draft)


def _stored(registry: Registry, folder: pathlib.Path, version: Version) -> bool:
    """Sees to it that the files lie in the store as they should; whether they had to be copied."""
    with contextlib.suppress(UserError, OSError):
        registry.checked(version)
        return False
    registry.store.add_folder(folder, version.folder, version.files)
    registry.store.forget(version.folder, version.sha256)
    registry.checked(version)
    return True


def _numbered(registry: Registry, folder: pathlib.Path, draft: Version) -> Published:
    while True:
        known = registry.records(draft.name, 'versions', read_version)
        same = _same(known, draft.sha256)
        if same is not None:  # of another publisher, just now
            return Published(same, False)
        events = registry.records(draft.name, 'history', read_event)
        # A number that was promoted once is not given again, whatever became of its record.
        used = [each.version for each in events if isinstance(each, Event)]
        used += [one.number for one in known]
        made = made_now(known[-1] if known else None)
        version = dataclasses.replace(draft, number=max(used, default=0) + 1, **made)
        if not create(registry, 'versions', version):
            continue
        if MANIFEST not in registry.store.names(version.folder):  # cleaned away meanwhile
            _stored(registry, folder, version)
        return Published(version, True)


def _same(known: list[Version | Damaged], digest: str) -> Version | None:
    return next((v for v in known if isinstance(v, Version) and v.sha256 == digest), None)


def checked_note(text: str, what: str) -> str:
    """A text of a person; UserError for one that is too long, or cannot be written as UTF-8."""
    if len(text) > _LONGEST:
        raise UserError(f'{what} has {len(text):,} characters; expected at most {_LONGEST:,}')
    try:
        text.encode()
    except UnicodeEncodeError as error:  # of a terminal or script in another encoding
        raise UserError(
            f'{what} is no UTF-8 text: {shown(text)} has a byte of another encoding at character '
            f'{error.start + 1}'
        ) from None
    return text
