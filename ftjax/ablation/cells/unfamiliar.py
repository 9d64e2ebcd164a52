"""How well a run's scores tell further test sets from its own test split: fields of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.ablation.cells.extra_test_sets import FurtherTest
from ftjax.ablation.cells.movement import spread
from ftjax.data import Dataset, Splits, eval_batches
from ftjax.errors import UserError
from ftjax.evaluation.calibration.out_of_distribution import Gaussians, auroc, energy
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import gather
from ftjax.pytrees import Variables
from ftjax.runs.prepare import Prepared


def unfamiliar_fields(
    prepared: Prepared, variables: Variables, tests: Sequence[FurtherTest], examples: int
) -> dict[str, object]:
    """The field `unfamiliar`: {test set: {score: AUROC}}; none where `examples` is 0.

    The AUROC is the chance that an example of the further test set has a higher score than one of
    the run's own test split. The scores are the energy of the outputs, and the Mahalanobis
    distance of what reaches the head from the nearest class of the training split.

    Args:
      prepared: the run.
      variables: those that it ended with; its own head answers on every set.
      tests: further test sets.
      examples: of the training split and of each test set, spread over it evenly, at most.

    Raises:
      UserError: the task has not one class an example.
    """
    if not examples or not tests:
        return {}
    check_unfamiliar(prepared.data)
    stage = prepared.network.stages[-2]

    def outputs(data: Dataset, of: str | None, test: FurtherTest | None = None) -> Any:
        settings = test.settings if test else prepared.config.data
        reading = test.preprocessing if test else prepared.preprocessing
        batches = eval_batches(data, settings.eval_batch_size, settings.image_size, reading)
        found = gather(predict(prepared.network, variables, batches, reading, stage=of))
        return found.outputs, found.labels

    gaussians = Gaussians.fit(*outputs(spread(prepared.data.train, examples), stage))

    def scores(data: Dataset, test: FurtherTest | None = None) -> dict[str, np.ndarray]:
        some = spread(data, examples)
        logits, features = (outputs(some, of, test)[0] for of in (None, stage))
        return {'energy': energy(logits), 'mahalanobis': gaussians.distance(features)}

    own = scores(prepared.data.test)
    # Another network, of other inputs, answers on the sets that name parts of the variables.
    others = {test.name: scores(test.dataset, test) for test in tests if not test.parts}
    return {
        'unfamiliar': {
            name: {score: auroc(own[score], values) for score, values in found.items()}
            for name, found in others.items()
        }
    }


def check_unfamiliar(data: Splits) -> None:
    """UserError unless the task has one class an example, as the scores need."""
    if not data.label_kind.one_class:
        raise UserError(
            'config.ablation.unfamiliar_on: scores of unfamiliar inputs need one class an example; '
            f'the task is {data.task}'
        )
