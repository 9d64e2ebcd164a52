"""A hub repository's tensors by name and shape, without fetching what is in them."""

from __future__ import annotations

import pathlib

import numpy as np

from ftjax.errors import UserError
from ftjax.pretrained.hub import asking, parse
from ftjax.pretrained.sources.base import Header, TensorSource, dtype_named
from ftjax.pretrained.sources.safetensors_file import DTYPES


class HubHeaders(TensorSource):
    """The headers of a repository's safetensors, by range requests of a few kilobytes."""

    def __init__(self, address: str):
        import huggingface_hub
        from huggingface_hub import errors

        repository, revision = parse(address)
        self.path = pathlib.Path(repository)
        with asking(address, revision):
            try:
                found = huggingface_hub.get_safetensors_metadata(repository, revision=revision)
            except errors.NotASafetensorsRepoError:
                raise UserError(
                    f'{address} has no safetensors, so its headers cannot be read alone; '
                    'load_pretrained fetches what other formats it has'
                ) from None
            except errors.SafetensorsParsingError as error:
                raise UserError(f'{address}: a safetensors header is broken ({error})') from None
        self.headers = {
            name: Header(
                dtype_named(DTYPES.get(row.dtype, row.dtype), f'{address}: tensor {name!r}'),
                tuple(row.shape),
            )
            for file in found.files_metadata.values()
            for name, row in file.tensors.items()
        }

    def read(self, name: str) -> np.ndarray:
        """Always a UserError: there are headers here and nothing else."""
        raise UserError(f'{self.path}: tensor {name!r} was not fetched, only its header')
