"""The row of a linear probe: the head's optimum on frozen compute, its penalty by validation."""

from __future__ import annotations

import math

import numpy as np

from ftjax.ablation.cells.row import finished_fields, fitted_metrics, numbers_of
from ftjax.data import Dataset
from ftjax.data.streams.loader import Loader
from ftjax.errors import UserError
from ftjax.leaves import flatten
from ftjax.runs.prepare import Prepared
from ftjax.training.feature_cache import compute
from ftjax.training.feature_cache.key import prefix_of
from ftjax.training.sweeps.linear_probe import fit_probe


def probe_row(prepared: Prepared) -> dict[str, object]:
    """Fits linear heads over a path of penalties and evaluates the best on validation data.

    The network's head is not used; what it would be given is, one vector an example.

    Raises:
      UserError: not a task of classes, or a head that takes more than a vector.
    """
    data = prepared.data
    if not data.label_kind.one_class:
        raise UserError(f"baseline 'probe' needs one class an example, not data.task={data.task}")
    train, val, test = (features_of(prepared, part) for part in (data.train, data.val, data.test))
    probe = fit_probe(train, data.train.labels, data.num_outputs)
    best = probe.best(val, data.val.labels)
    of_val, of_test = fitted_metrics(prepared, *(probe.logits(x)[best] for x in (val, test)))
    head = probe.kernels[best].size + probe.biases[best].size
    leaves = flatten(prepared.variables['params'])
    trunk = sum(
        math.prod(leaf.shape) for path, leaf in leaves.items() if path.split('/')[0] != 'head'
    )
    return finished_fields(
        {**numbers_of(of_val), 'loss': of_val['log_loss']},
        of_test,
        {},
        penalty=float(probe.penalties[best]),
        iterations=int(probe.steps.max()),
        params_total=trunk + head,
        params_trainable=head,
        data_fingerprint=data.fingerprint,
        test_fingerprint=data.test.fingerprint,
    )


def features_of(prepared: Prepared, dataset: Dataset) -> np.ndarray:
    """What the head is given for every example of a split, (examples, compute) float32."""
    network, preprocessing = prepared.network, prepared.preprocessing
    loader = Loader(dataset, prepared.config.data.image_size, preprocessing)
    variables = prefix_of(network, prepared.variables, 'head')
    passed = compute.passed_on(network, variables, 'head', loader, preprocessing)
    if isinstance(passed, str):
        raise UserError(f"baseline 'probe' is not possible: {passed}")
    shapes = passed.shapes
    if len(shapes) != 1 or any(len(shape.shape) != 1 for shape in shapes.values()):
        told = ', '.join(f'{path} {tuple(shape.shape)}' for path, shape in shapes.items())
        raise UserError(f"baseline 'probe' needs one vector an example; into the head flows {told}")
    arrays = {
        path: np.empty((len(dataset), *shape.shape), np.float32) for path, shape in shapes.items()
    }
    compute.compute(network, variables, 'head', loader, preprocessing, arrays)
    return next(iter(arrays.values()))
