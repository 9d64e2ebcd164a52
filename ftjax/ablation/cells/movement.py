"""Where a run moved, and how far: what reaches the head, weights by stage, chosen weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ftjax.ablation.cells.extra_test_sets import FurtherTest
from ftjax.ablation.cells.linear_probe_row import features_of
from ftjax.data import Dataset
from ftjax.freezing.data_driven_choice import Choice
from ftjax.io.json.json_values import JsonObject
from ftjax.leaves import flatten
from ftjax.models.stages import Network
from ftjax.pytrees import Variables
from ftjax.runs.prepare import Prepared


def movement_fields(
    prepared: Prepared, variables: Variables, tests: Sequence[FurtherTest], examples: int
) -> dict[str, object]:
    """Fields of a row: `features_moved` {test set: distance} and `movement` {stage: distance}.

    The task's own test set is called `test`. No fields where `examples` is 0.

    Args:
      prepared: the run, its variables those that it began with.
      variables: those that it ended with.
      tests: further test sets.
      examples: of each test set, spread over it evenly, at most.

    Raises:
      UserError: a head that takes more than a vector an example.
    """
    if not examples:
        return {}
    ended = dataclasses.replace(prepared, variables=dict(variables))
    own = {test.name: test.dataset for test in tests if not test.parts}  # of this network's inputs
    sets = {'test': prepared.data.test, **own}
    distances = {}
    for name, whole in sets.items():
        some = spread(whole, examples)
        distances[name] = distance(features_of(prepared, some), features_of(ended, some))
    moved = weights_moved(prepared.variables['params'], variables['params'])
    in_depth = {stage: moved[stage] for stage in prepared.network.stages if stage in moved}
    return {'features_moved': distances, 'movement': in_depth}


def spread(dataset: Dataset, count: int) -> Dataset:
    """At most `count` examples at equal steps: a source may be in the order of its classes."""
    if len(dataset) <= count:
        return dataset
    return dataset.take(np.arange(count) * len(dataset) // count)


def distance(before: np.ndarray, after: np.ndarray) -> float:
    """Mean distance between rows of two matrices, as a share of the mean length before.

    >>> distance(np.array([[3.0, 4.0], [0.0, 5.0]]), np.array([[3.0, 4.0], [0.0, 6.0]]))
    0.1
    """
    moved = np.linalg.norm(np.float64(after) - before, axis=1).mean()
    return float(moved / np.linalg.norm(np.float64(before), axis=1).mean())


def weights_moved(before: JsonObject, after: JsonObject) -> dict[str, float]:
    """By stage, the length of the change of all its parameters over their length before.

    Stages without parameters, or with none but zeros, are left out.
    """
    found = {}
    for stage, leaves in before.items():
        old = flatten(leaves)
        new = flatten(after[stage])
        length = norm([old[path] for path in old])
        if length:
            change = norm([np.float64(np.asarray(new[path])) - old[path] for path in old])
            found[stage] = change / length
    return found


def norm(leaves: Sequence[object]) -> float:
    """The Euclidean length of some arrays as one vector."""
    return float(np.sqrt(sum(np.sum(np.float64(np.asarray(leaf)) ** 2) for leaf in leaves)))


def chosen_weights(network: Network, choices: Sequence[Choice]) -> dict[str, object]:
    """The field `weights`: by section of the network, and of the head, what choices gave it.

    It is the mean weight of the leaves. Leaves without any weight (norms, under auto_rgn) are left
    out of the mean: blocks have more of them than the stem and the head. No field where nothing
    was chosen.
    """
    given = [(path, weight) for choice in choices for path, weight in choice.weights.items()]
    if not given:
        return {}
    sections = {f'block{n + 1}': names for n, names in enumerate(network.sections)}
    found = {}
    for name, stages in {**sections, 'head': ('head',)}.items():
        inside = [weight for path, weight in given if weight > 0 and path.split('/')[0] in stages]
        found[name] = float(np.mean(inside)) if inside else 0.0
    return {'weights': found}
