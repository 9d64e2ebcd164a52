"""A hub repository's tensors by name and shape, without fetching what is in them."""

from __future__ import annotations

import pathlib

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.json.json_values import Text, check
from ftjax.pretrained.locate.hub import asking, parse
from ftjax.pretrained.readers.safetensors_file import DTYPES
from ftjax.pretrained.readers.tensor_source import Header, TensorSource, checked_shape, dtype_named

_BROKEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class HubHeaders(TensorSource):
    """The headers of a repository's safetensors, by range requests of a few kilobytes."""

    def __init__(self, address: str):
        import huggingface_hub
        from huggingface_hub import errors

        repository, revision, subfolder = parse(address)
        if subfolder:
            raise UserError(
                f'{address}: headers alone are read at the top of a repository; load_pretrained '
                'fetches what is in a subfolder'
            )
        self.path = pathlib.Path(repository)
        with asking(address, revision):
            try:
                found = huggingface_hub.get_safetensors_metadata(repository, revision=revision)
            except errors.NotASafetensorsRepoError:
                raise UserError(
                    f'{address} has no safetensors, so its headers cannot be read alone; '
                    'load_pretrained fetches what other formats it has'
                ) from None
            except UserError:
                raise
            except (*_BROKEN, errors.SafetensorsParsingError) as error:
                reason = shown(' '.join(str(error).split()), 200)
                raise UserError(f'{address}: a safetensors header is broken ({reason})') from None
        self.headers = {}
        for file in found.files_metadata.values():
            for name, row in file.tensors.items():
                where = f'{address}: tensor {shown(name)}'
                code = check(row.dtype, f'{where}: dtype', Text(choices=tuple(DTYPES)))
                dtype = dtype_named(DTYPES[code], where)
                self.headers[name] = Header(dtype, checked_shape(row.shape, dtype, where))

    def read(self, name: str) -> np.ndarray:
        """Always a UserError: there are headers here and nothing else."""
        raise UserError(f'{self.path}: tensor {name!r} was not fetched, only its header')
