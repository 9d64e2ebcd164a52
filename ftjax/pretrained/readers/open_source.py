"""A checkpoint file opened by the ending of its name."""

from __future__ import annotations

import pathlib

from ftjax.errors import UserError
from ftjax.pretrained.readers.tensor_source import TensorSource

# Formats that run code when opened, or whose tensors are wrapped in it.
PICKLED = ('.pth', '.pt', '.bin', '.ckpt', '.pkl', '.pickle', '.th')


CONVERT = (
    'in PyTorch, `safetensors.torch.save_file(torch.load(path, weights_only=True), '
    "'model.safetensors')` converts it"
)


def open_source(path: str | pathlib.Path) -> TensorSource:
    """Opens a checkpoint file, or the one in a folder, by its name's ending.

    A folder is searched for model.safetensors, its sharded index, flax_model.msgpack and
    then for a single file of a known kind.

    Raises:
      UserError: nothing is there, it is a pickle, or its header is broken.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = weights_in(path)
    if path.suffix in PICKLED:
        raise UserError(f'{path} is a pickle, which can run code when loaded; {CONVERT}')
    if not path.exists():
        raise UserError(f'no such checkpoint: {path}')
    # Readers are imported here: each costs a little, and a run uses one.
    if path.name.endswith('.safetensors.index.json'):
        from ftjax.pretrained.readers.sharded import ShardedSource

        return ShardedSource(path)
    if path.suffix == '.safetensors':
        from ftjax.pretrained.readers.safetensors_file import SafetensorsSource

        return SafetensorsSource(path)
    if path.suffix == '.npz':
        from ftjax.pretrained.readers.npz_weights import NpzSource

        return NpzSource(path)
    if path.suffix == '.msgpack':
        from ftjax.pretrained.readers.msgpack_file import MsgpackSource

        return MsgpackSource(path)
    raise UserError(
        f'{path}: not a kind of checkpoint that can be read; known: .safetensors, '
        '.safetensors.index.json, .npz, .msgpack'
    )


def weights_in(folder: pathlib.Path) -> pathlib.Path:
    """The weights file in a folder; UserError if there is none, or it is not clear which."""
    for name in ('model.safetensors', 'model.safetensors.index.json', 'flax_model.msgpack'):
        if (folder / name).exists():
            return folder / name
    found = [
        file
        for pattern in ('*.safetensors', '*.safetensors.index.json', '*.npz', '*.msgpack')
        for file in sorted(folder.glob(pattern))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ', '.join(file.name for file in found)
        raise UserError(f'{folder} holds several checkpoints ({names}): give the path of one')
    pickles = [file for file in sorted(folder.iterdir()) if file.suffix in PICKLED]
    if pickles:
        raise UserError(
            f'{folder} holds only {pickles[0].name}, a pickle, which can run code when loaded; '
            + CONVERT
        )
    raise UserError(f'{folder} holds no checkpoint: no model.safetensors, .npz or .msgpack')
