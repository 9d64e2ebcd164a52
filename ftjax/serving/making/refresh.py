"""A bundle with its programs made anew from its weights: goldens and reference stay as they are."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Sequence

from ftjax.errors import UserError
from ftjax.io.files.whole_folder import whole_folder
from ftjax.io.process.provenance import versions
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.bundle.exported_programs import file_of
from ftjax.serving.bundle.loaded_bundle import load
from ftjax.serving.bundle.manifest import MANIFEST, check_manifest, write_manifest
from ftjax.serving.bundle.signature import read_signature
from ftjax.serving.making.write_bundle import programs_of


def refresh(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    parts: Sequence[str] = (),
) -> pathlib.Path:
    """Writes the same bundle for the present JAX; it has to reproduce the old goldens.

    Args:
      folder: of the old bundle, whose programs need not be readable any more.
      output: the new one's; must not exist, or be empty.
      parts: files with parts of the user's own.

    Raises:
      UserError: no bundle there; a network that this ftjax does not build; other outputs.
    """
    old, output = pathlib.Path(folder), pathlib.Path(output)
    manifest = check_manifest(old)
    if parts:
        from ftjax.io.identity.own_parts import restore

        restore(old, parts)
    signature = read_signature(old)
    trained = open_trained(os.fspath(old))
    if trained.model is None:
        raise UserError(f'{old}: no weights to make programs of')
    programs = programs_of(trained, signature.inputs, signature.buckets, signature.details)
    names = {file_of(bucket) for bucket in programs}
    with whole_folder(output) as made:
        for path in sorted(old.iterdir()):
            if path.name not in {*names, MANIFEST}:
                shutil.copyfile(path, made / path.name)
        for bucket, exported in programs.items():
            (made / file_of(bucket)).write_bytes(bytes(exported.serialize()))
        facts = {'network': manifest.get('network'), 'refreshed_from': manifest['versions']}
        write_manifest(made, versions(), signature.version, **facts)
        load(made)
    return output
