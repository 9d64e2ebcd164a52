"""Trains a network from random weights and, on request, publishes it in our own format.

python scripts/pretrain.py --config=configs/pretrain_glyphs.py --workdir=runs/glyphs
"""

from absl import flags

from ftjax import launch

CONFIG = launch.define_config()
WORKDIR = launch.define_workdir()
PUBLISH = flags.DEFINE_string('publish', '', 'Folder to write the trained network to as well.')


def main():
    from ftjax.config import read_config
    from ftjax.preparation import prepare
    from ftjax.pretrained.own import save_own
    from ftjax.run import train

    prepared = prepare(read_config(CONFIG.value))
    print(prepared.table())
    fitted, result = train(prepared, WORKDIR.value)
    accuracy = result['metrics']['accuracy']
    print(f'test accuracy {accuracy:.4f} on characters never seen; {fitted.wall_seconds:.0f} s')
    if PUBLISH.value:
        made_by = {
            'config': 'configs/pretrain_glyphs.py',
            'test_accuracy': accuracy,
            'data_fingerprint': result['data_fingerprint'],
            'steps': fitted.steps,
        }
        save_own(
            PUBLISH.value,
            prepared.network,
            fitted.variables,
            prepared.preprocessing,
            prepared.data.class_names,
            made_by,
        )
        print(f'published to {PUBLISH.value}')


if __name__ == '__main__':
    launch.run(main)
