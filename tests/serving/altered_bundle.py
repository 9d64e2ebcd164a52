"""Another sound bundle from one: other weights of the head, goldens and hashes anew."""

import json
import shutil

import numpy as np

from ftjax.pretrained.own_files import WEIGHTS
from ftjax.serving.bundle.goldens import Goldens, read_arrays, read_goldens, write_arrays
from ftjax.serving.bundle.goldens import write_goldens as written
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.bundle.manifest import write_manifest
from ftjax.serving.bundle.run_facts import FILE


def altered(bundle, folder, favoured=0, by=0.1, run=None):
    """A copy whose answers favour a class; `run` changes what run.json says."""
    shutil.copytree(bundle, folder)
    (folder / 'bundle.json').unlink()
    weights = read_arrays(folder / WEIGHTS)
    (name,) = [key for key in weights if key.startswith('params/head/') and key.endswith('bias')]
    weights[name] = weights[name] + by * np.eye(len(weights[name]), dtype=np.float32)[favoured]
    (folder / WEIGHTS).unlink()
    write_arrays(folder / WEIGHTS, weights)
    goldens = read_goldens(folder)
    outputs = Bundle(folder, {}).run(goldens.inputs).outputs
    written(folder, Goldens(goldens.inputs, outputs, goldens.ids, goldens.raw))
    if run is not None:
        found = json.loads((folder / FILE).read_text())
        run(found)
        (folder / FILE).write_text(json.dumps(found))
    write_manifest(folder, {'jax': 'of the test'}, network='ViT')
    return folder
