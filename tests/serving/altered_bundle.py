"""Another sound bundle from one: other weights, goldens and hashes anew."""

import dataclasses
import json
import shutil

import numpy as np

from ftjax.pretrained.own_files import WEIGHTS
from ftjax.serving.bundle.goldens import read_arrays, read_goldens, write_arrays
from ftjax.serving.bundle.goldens import write_goldens as written
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.bundle.manifest import write_manifest
from ftjax.serving.bundle.run_facts import FILE


def altered(bundle, folder, favoured=0, by=0.1, run=None):
    """A copy whose answers favour a class; `run` changes what run.json says."""

    def favour(weights):
        (name,) = [n for n in weights if n.startswith('params/head/') and n.endswith('bias')]
        weights[name] = weights[name] + by * np.eye(len(weights[name]), dtype=np.float32)[favoured]

    return with_weights(bundle, folder, favour, run)


def shaken(bundle, folder, by=3.0, seed=0):
    """A copy of which every weight is changed by noise of a share of its spread."""
    random = np.random.default_rng(seed)

    def shake(weights):
        for name in sorted(weights):
            noise = random.standard_normal(weights[name].shape).astype(np.float32)
            weights[name] = weights[name] + by * (weights[name].std() + 0.01) * noise

    return with_weights(bundle, folder, shake)


def with_weights(bundle, folder, change, run=None):
    """A copy with other weights, whose goldens are its own."""
    shutil.copytree(bundle, folder)
    found = json.loads((folder / 'bundle.json').read_text())
    (folder / 'bundle.json').unlink()
    weights = read_arrays(folder / WEIGHTS)
    change(weights)
    (folder / WEIGHTS).unlink()
    write_arrays(folder / WEIGHTS, weights)
    goldens = read_goldens(folder)
    outputs = Bundle(folder, {}).run(goldens.inputs).outputs
    written(folder, dataclasses.replace(goldens, outputs=outputs))
    if run is not None:
        facts = json.loads((folder / FILE).read_text())
        run(facts)
        (folder / FILE).write_text(json.dumps(facts))
    write_manifest(folder, {'jax': 'of the test'}, found['version'], network='ViT')
    return folder
