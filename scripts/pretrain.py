"""Trains a network from random weights and, on request, publishes it in our own format.

    python scripts/pretrain.py --config=configs/pretrain_glyphs.py --workdir=runs/glyphs
    python scripts/pretrain.py --config=configs/pretrain_glyphs_cls.py --workdir=runs/glyphs_cls
    python scripts/pretrain.py --config=configs/pretrain_docstrings.py --workdir=runs/docstrings

An interrupted run goes on. The configs say what the three shipped networks were made by.
"""

import pathlib
import platform

from absl import flags
from ml_collections import config_flags

from ftjax.cli import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()
PUBLISH = flags.DEFINE_string('publish', '', 'Folder to write the trained network to as well.')
DTYPE = flags.DEFINE_enum(
    'publish_dtype', 'float32', ['float32', 'float16', 'bfloat16'], 'Of what is published.'
)


def main():
    from ftjax.config import read_config
    from ftjax.runs.prepare import prepare
    from ftjax.runs.run import train
    from ftjax.tasks.metrics_text import metrics_text

    prepared = prepare(read_config(CONFIG.value))
    print(prepared.table(), flush=True)
    fitted, result = train(prepared, WORKDIR.value)
    print(metrics_text(result['metrics']))
    print(f'the test split was never trained on; {fitted.wall_seconds:.0f} s')
    if PUBLISH.value:
        publish(prepared, fitted, result)
        print(f'published to {PUBLISH.value}')


def publish(prepared, fitted, result):
    """Writes the network, what it needs of its inputs, and how it was made."""
    import jax
    import jax.numpy as jnp

    from ftjax.pretrained.own_format import save_own

    file = pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config']))
    measured = {
        name: value for name, value in result['metrics'].items() if isinstance(value, int | float)
    }
    made_by = {
        'config': '/'.join(file.parts[-2:]),  # no folder of one machine
        'test': measured,
        'data_fingerprint': result['data_fingerprint'],
        'steps': fitted.steps,
        'python': platform.python_version(),
    }
    save_own(
        PUBLISH.value,
        prepared.network,
        jax.tree.map(lambda leaf: jnp.asarray(leaf, DTYPE.value), fitted.variables),
        prepared.preprocessing,
        prepared.data.class_names,
        made_by,
    )


if __name__ == '__main__':
    launch.run(main)
