"""Opens exported folders with sentence-transformers, and reads what it saves.

    pip install sentence-transformers
    python scripts/parity/check_sentence_folders.py

Prints the largest difference between its vectors and ours for each pool, with and without a linear
layer, and the pool that we read of a folder that it saved. No test needs the library.
"""

import pathlib
import tempfile

import numpy as np
from sentence_transformers import SentenceTransformer  # pyrefly: ignore

from ftjax.export.huggingface import save_huggingface
from ftjax.export.sentence_modules import trunk_of, write_modules
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.sentence_folder import pooling_of

TEXTS = ('Return the next line as plain text.', 'Open a file, or raise an error.', 'x')


def main() -> None:
    """Checks the shipped encoder."""
    for pool, dim in (('mean', 0), ('cls', 0), ('mean', 8)):
        options = {'head': 'vector', 'pool': pool, 'vector_dim': dim}
        found = load_pretrained('docstrings', num_classes=0, options=options)
        preprocessing = found.preprocessing
        assert isinstance(preprocessing, TextPreprocessing)
        folder = pathlib.Path(tempfile.mkdtemp()) / 'exported'
        trunk, weights = trunk_of(found.network, found.variables)
        save_huggingface(folder, trunk, weights, preprocessing)
        write_modules(folder, found.network, found.variables, preprocessing)
        model = SentenceTransformer(str(folder), device='cpu')
        rows = [preprocessing.open().encode(text).ids for text in TEXTS]
        length = max(map(len, rows))
        ids = np.array([row + [0] * (length - len(row)) for row in rows], np.int32)
        mask = (np.arange(length) < np.array([[len(row)] for row in rows])).astype(np.int32)
        ours = found.network.apply(found.variables, {'input_ids': ids, 'attention_mask': mask})
        difference = np.abs(np.asarray(ours) - model.encode(list(TEXTS))).max()
        model.save(str(folder.parent / 'saved'))
        read = pooling_of(folder.parent / 'saved') if not dim else 'not read: Dense'
        print(f'pool {pool}, linear layer {dim}: {difference:.1e}; of its own folder: {read}')


if __name__ == '__main__':
    main()
