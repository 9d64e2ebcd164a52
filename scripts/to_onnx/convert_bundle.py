"""Converts a bundle to ONNX and compares it with the bundle's goldens in onnxruntime.

    .venv-onnx/bin/python scripts/to_onnx/convert_bundle.py --bundle=BUNDLE --output=FOLDER

scripts/export.py --format=onnx calls it, in the environment of
scripts/to_onnx/make_environment.sh. The folder must be there. A model is one file a length of
texts, with any number of examples a batch; images enter as whole pixels. Outputs are equal to 1e-5
of the largest, or nothing is written.
"""

import pathlib
from typing import Any

import numpy as np
from absl import flags

from ftjax.cli import launch

BUNDLE = flags.DEFINE_string('bundle', None, 'Folder of a bundle.', required=True)
OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to.', required=True)
TOLERANCE = 1e-5
OPSET = 23


def main():
    import logging

    from ftjax.io.files.atomic import write_json
    from ftjax.runs.prediction.trained import open_trained
    from ftjax.serving.bundle.golden_rows import fitting
    from ftjax.serving.bundle.goldens import read_goldens
    from ftjax.serving.bundle.manifest import check_manifest
    from ftjax.serving.bundle.signature import read_signature

    logging.getLogger('onnx_ir').setLevel(logging.ERROR)  # a line for each shape it guesses
    folder, output = pathlib.Path(BUNDLE.value), pathlib.Path(OUTPUT.value)
    check_manifest(folder)
    signature, goldens = read_signature(folder), read_goldens(folder)
    trained, rows = open_trained(str(folder)), []
    for bucket in signature.buckets:
        name = f'model_{bucket}.onnx' if bucket else 'model.onnx'
        convert(trained, signature, bucket, output / name)
        inputs, at = fitting(goldens, signature, bucket)
        worst = compared(output / name, signature, inputs, goldens.outputs[at], bucket)
        rows.append({'file': name, 'length': bucket, 'goldens': len(at), 'off_by': worst})
        print(f'{name}: off by {worst:.2g} of the largest output on {len(at)} goldens')
    write_json(output / 'onnx.json', {'opset': OPSET, 'tolerance': TOLERANCE, 'models': rows})


def convert(trained, signature, bucket, path):
    """Writes the network, with its normalisation, as one ONNX file."""
    import jax
    import jax2onnx
    from padded_pool import PaddedFirst

    from ftjax.leaves import flatten
    from ftjax.models.vision import resnet
    from ftjax.serving.making.trace import Served

    vars(resnet)['nn'] = PaddedFirst()
    images = signature.takes == 'images'
    served = Served(
        trained.network, trained.preprocessing if images else None, trained.settings.tta
    )
    weights: Any = flatten(trained.variables)
    names = sorted(signature.inputs)

    def run(*arrays):
        taken: Any = dict(zip(names, arrays, strict=True))
        return served(weights, taken)['outputs']

    (batch,) = jax.export.symbolic_shape('batch')  # one symbol for all arrays
    specs = [
        jax.ShapeDtypeStruct(
            (batch, *signature.inputs[name].of_length(bucket)), signature.inputs[name].dtype
        )
        for name in names
    ]
    jax2onnx.to_onnx(
        run,
        specs,
        model_name=type(trained.network).__name__,
        opset=OPSET,
        return_mode='file',
        output_path=path,
        input_names=names,
        output_names=['outputs'],
    )


def compared(path, signature, inputs, expected, bucket):
    """How far onnxruntime's outputs are from the goldens', at two batch sizes."""
    import onnxruntime

    from ftjax.serving.bundle.golden_rows import real_outputs, to_length
    from ftjax.serving.bundle.goldens import check_outputs

    if not len(expected):
        return None
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    worst = 0.0
    for count in {len(expected), max(1, len(expected) - 3)}:
        given = {
            name: to_length(array[:count], bucket, signature.inputs[name].pad)
            if bucket
            else array[:count]
            for name, array in inputs.items()
        }
        (found,) = session.run(['outputs'], given)
        part = {name: array[:count] for name, array in inputs.items()}
        found, wanted = (
            real_outputs(np.asarray(each), part, signature) for each in (found, expected[:count])
        )
        worst = max(worst, check_outputs(found, wanted, TOLERANCE, str(path)))
    return worst


if __name__ == '__main__':
    launch.run(main)
