"""What makes a folder for transformers one that sentence-transformers opens."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.models.registry import options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained import own_format
from ftjax.pretrained.readers.safetensors_file import write_safetensors
from ftjax.pretrained.sentence_folder import FLAGS, MODES, MODULES, POOLING, PREFIX
from ftjax.pytrees import Variables

DENSE = '2_Dense'
USAGE = (
    'from sentence_transformers import SentenceTransformer',
    "model = SentenceTransformer('{place}')",
    "vectors = model.encode(['one text', 'another'])",
)


def trunk_of(network: Network, variables: Variables) -> tuple[Network, Variables]:
    """The network as transformers has it, without a linear layer after the pool."""
    if not options_of(network)[1].get('vector_dim', 0):
        return network, variables
    params = {name: stage for name, stage in variables['params'].items() if name != 'head'}
    return network.clone(vector_dim=0), {**variables, 'params': params}


def write_modules(
    folder: pathlib.Path,
    network: Network,
    variables: Variables,
    preprocessing: TextPreprocessing | None,
) -> None:
    """Writes modules.json and the folders of its modules: Pooling, Dense, Normalize.

    Args:
      folder: as `save_huggingface` wrote it.
      network: whose head gives a vector.
      variables: of the same.
      preprocessing: says how many tokens a text is cut to.

    Raises:
      UserError: a pool that sentence-transformers has not.
    """
    options = options_of(network)[1]
    pool, width, dim = options['pool'], options['width'], options.get('vector_dim', 0)
    if pool not in MODES:
        raise UserError(f'sentence-transformers has no pool {pool!r}; expected {", ".join(MODES)}')
    modules = [('', 'Transformer'), (POOLING, 'Pooling')]
    pooling = {'word_embedding_dimension': width, **dict.fromkeys(FLAGS, False)}
    pooling |= {MODES[pool]: True, 'include_prompt': True}
    _write(folder / POOLING, pooling)
    if dim:
        modules.append((DENSE, 'Dense'))
        _write(
            folder / DENSE,
            {
                'in_features': width,
                'out_features': dim,
                'bias': True,
                'activation_function': 'torch.nn.modules.linear.Identity',
            },
        )
        dense = variables['params']['head']['dense']
        tensors = {
            'linear.weight': np.ascontiguousarray(np.asarray(dense['kernel'], np.float32).T),
            'linear.bias': np.asarray(dense['bias'], np.float32),
        }
        lazy = {n: (a.dtype, a.shape, lambda a=a: a) for n, a in tensors.items()}
        write_safetensors(folder / DENSE / own_format.WEIGHTS, lazy, {'format': 'pt'})
    modules.append((f'{len(modules)}_Normalize', 'Normalize'))
    (folder / modules[-1][0]).mkdir()
    listed = [
        {'idx': number, 'name': str(number), 'path': path, 'type': PREFIX + kind}
        for number, (path, kind) in enumerate(modules)
    ]
    own_format.write_json(folder / MODULES, listed)
    longest = preprocessing.max_length if preprocessing is not None else network.longest_text
    settings = {'max_seq_length': longest, 'do_lower_case': False}
    own_format.write_json(folder / 'sentence_bert_config.json', settings)
    own_format.write_json(
        folder / 'config_sentence_transformers.json',
        {'prompts': {}, 'default_prompt_name': None, 'similarity_fn_name': 'cosine'},
    )


def _write(folder: pathlib.Path, config: dict[str, Any]) -> None:
    folder.mkdir()
    own_format.write_json(folder / own_format.CONFIG, config)
