"""Writes ONNX models with int8 weights, and measures what that changes on the test split.

    python scripts/export.py --workdir=runs/digits --format=onnx --output=onnx/digits
    .venv-onnx/bin/python scripts/to_onnx/quantise.py --workdir=runs/digits --onnx=onnx/digits

Beside each model.onnx comes model_int8.onnx: onnxruntime's dynamic quantisation, where matrices of
weights are int8 and what meets them is quantised while the model runs. Both answer the test split
of the run in onnxruntime. int8.json says accuracy of both, how many answers changed and in which
direction (with the exact p of McNemar's test), sizes, and milliseconds of one example, in turn.
"""

import pathlib
import time
from typing import Any

import numpy as np
from absl import flags

from ftjax.cli import launch

WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.', required=True)
ONNX = flags.DEFINE_string('onnx', None, 'What --format=onnx wrote of it.', required=True)
CALLS = 100
"""Timed calls of each model."""


def main():
    import logging

    from ftjax.io.files.atomic import write_json
    from ftjax.io.json.json_reader import read_object
    from ftjax.io.process.provenance import provenance
    from ftjax.serving.bundle.signature import read_signature

    logging.getLogger().setLevel(logging.ERROR)  # onnxruntime advises a step for static quantising
    folder = pathlib.Path(ONNX.value)
    signature = read_signature(folder)
    names = [row['file'] for row in read_object(folder / 'onnx.json')['models']]
    plain = {row: folder / row for row in names}
    small = {row: folder / row.replace('.onnx', '_int8.onnx') for row in names}
    for name in names:
        quantise(plain[name], small[name])
    told = compared(signature, names, plain, small)
    told['bytes'] = sum(path.stat().st_size for path in plain.values())
    told['bytes_int8'] = sum(path.stat().st_size for path in small.values())
    write_json(folder / 'int8.json', {**told, **provenance()})
    for key, value in told.items():
        print(f'{key}: {value:.4g}' if isinstance(value, float) else f'{key}: {value}')


def quantise(path, output):
    """Writes the model with its matrices of weights as int8, a scale a column."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, output, per_channel=True, weight_type=QuantType.QInt8)


def compared(signature, names, plain, small) -> dict[str, Any]:
    """What both sides answer to the test split, and how long one example takes."""
    from scipy.stats import binomtest

    labels, batches = test_split()
    files = dict(zip(signature.buckets, names, strict=True))
    sides = [{bucket: opened(paths[files[bucket]]) for bucket in files} for paths in (plain, small)]
    outputs = [np.zeros((len(labels), signature.outputs), np.float32) for _ in sides]
    bucket, given = 0, {}
    for at, arrays in batches:
        bucket, given = padded(arrays, signature)
        for side, found in zip(sides, outputs, strict=True):
            (found[at],) = side[bucket].run(['outputs'], given)
    told: dict[str, Any] = {
        'test_examples': len(labels),
        'off_by': float(abs(outputs[1] - outputs[0]).max() / abs(outputs[0]).max()),
    }
    if signature.activation == 'softmax':
        answers = [found.argmax(axis=1) for found in outputs]
        right = [found == labels for found in answers]
        lost, won = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
        told |= {'accuracy': float(right[0].mean()), 'accuracy_int8': float(right[1].mean())}
        told |= {'changed': int((answers[0] != answers[1]).sum()), 'lost': lost, 'won': won}
        told['p'] = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    told['ms'], told['ms_int8'] = timed([side[bucket] for side in sides], given)
    return told


def test_split():
    """(labels of the run's test split, its batches as the program takes them)."""
    from ftjax.config import read_saved_config
    from ftjax.data.load import load_data
    from ftjax.errors import UserError
    from ftjax.io.json.json_reader import read_object
    from ftjax.runs.prediction.trained import open_trained
    from ftjax.serving.making.proof import rows_of

    folder = pathlib.Path(WORKDIR.value)
    data = load_data(read_saved_config(read_object(folder / 'config.json')).data).test
    if not len(data):
        raise UserError(f'{folder}: the run has no test split')
    return np.asarray(data.labels), rows_of(open_trained(str(folder)), data)


def padded(arrays, signature):
    """(bucket, arrays of its length)."""
    from ftjax.serving.bundle.golden_rows import to_length

    if not signature.lengths:
        return 0, arrays
    bucket = signature.bucket(next(iter(arrays.values())).shape[1])
    pads = {name: one.pad for name, one in signature.inputs.items()}
    return bucket, {name: to_length(array, bucket, pads[name]) for name, array in arrays.items()}


def opened(path):
    """A session on CPUs."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


def timed(sessions, given):
    """Medians of the milliseconds of one example in each session, which take turns."""
    one = {name: array[:1] for name, array in given.items()}
    times: Any = [[] for _ in sessions]
    for _ in range(CALLS):
        for session, row in zip(sessions, times, strict=True):
            began = time.perf_counter()
            session.run(['outputs'], one)
            row.append(1000 * (time.perf_counter() - began))
    return [float(np.median(row)) for row in times]


if __name__ == '__main__':
    launch.run(main)
