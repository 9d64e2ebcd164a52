"""The row of Head2Toe: a head on chosen features of all stages of the pretrained network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ftjax.ablation.cells.row import finished_fields, fitted_metrics, numbers_of
from ftjax.data import Dataset
from ftjax.data.streams.evaluation_batches import eval_batches
from ftjax.evaluation.stage_features import stage_features
from ftjax.leaves import flatten
from ftjax.runs.prepare import Prepared
from ftjax.training.sweeps.head2toe import fit_head2toe, joined


def head2toe_row(prepared: Prepared, share: float) -> dict[str, object]:
    """Fits a head on a share of the features of all stages and evaluates it.

    Each stage's outputs are pooled as `predict --features` pools them: one vector an example.
    """
    data, stages = prepared.data, stages_of(prepared)
    parts = {name: getattr(data, name) for name in ('train', 'val', 'test')}
    taps = {name: taps_of(prepared, part, stages) for name, part in parts.items()}
    widths = [tap.shape[1] for tap in taps['train']]
    x = {name: joined(found) for name, found in taps.items()}
    head = fit_head2toe(
        (x['train'], data.train.labels), (x['val'], data.val.labels), data.num_outputs, share
    )
    val, test = fitted_metrics(prepared, *(head.logits(x[name]) for name in ('val', 'test')))
    places = np.repeat(np.arange(len(stages)), widths)[head.kept]
    kept = {stage: int((places == number).sum()) for number, stage in enumerate(stages)}
    leaves = flatten(prepared.variables['params'])
    trunk = sum(math.prod(x.shape) for p, x in leaves.items() if p.split('/')[0] != 'head')
    size = (len(head.kept) + 1) * data.num_outputs
    return finished_fields(
        {**numbers_of(val), 'loss': val['log_loss']},
        test,
        {},
        kept=kept,
        strength=head.strength,
        penalty=float(head.probe.penalties[head.best]),
        params_total=trunk + size,
        params_trainable=size,
        data_fingerprint=data.fingerprint,
        test_fingerprint=data.test.fingerprint,
    )


def stages_of(prepared: Prepared) -> tuple[str, ...]:
    """The stages below the head, in depth order."""
    return tuple(name for name in prepared.network.stages if name != 'head')


def taps_of(prepared: Prepared, dataset: Dataset, stages: Sequence[str]) -> list[np.ndarray]:
    """What each stage gives for every example of a split, pooled: (examples, width) float32."""
    settings, preprocessing = prepared.config.data, prepared.preprocessing
    batches = eval_batches(dataset, settings.eval_batch_size, settings.image_size, preprocessing)
    return stage_features(prepared.network, prepared.variables, batches, preprocessing, stages)
