"""A network under examination: a few real inputs, its weights moved, and what it is asked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ftjax.data.images.on_device import prepare as prepared_images
from ftjax.models.stages import EVAL, Mode
from ftjax.pytrees import Variables
from ftjax.runs.prepare import Prepared
from ftjax.runs.run_spec import run_spec

EXAMPLES = 4
CLOSE = 1e-4
"""Relative error between two orders of the same float32 computation, at most."""


class Wrong(Exception):
    """What a check finds wrong."""


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """The network under examination, on a few real inputs."""

    prepared: Prepared
    inputs: Any
    variables: Mapping[str, Any]

    @classmethod
    def of(cls, prepared: Prepared) -> Subject:
        """Of a run: its network without what a strategy adds, and a batch of its training data."""
        opened = prepared.opened
        variables = prepared.variables if opened is None else opened.variables
        spec = dataclasses.replace(run_spec(prepared), augmentation='none')
        inputs = spec.stream.batch(0)['inputs']
        inputs = jax.tree.map(lambda x: x[:EXAMPLES], inputs)
        if prepared.preprocessing is not None:
            inputs = prepared_images(inputs, prepared.preprocessing)
        return cls(prepared, inputs, moved(variables))

    @property
    def network(self) -> Any:
        """Without adapters."""
        opened = self.prepared.opened
        return self.prepared.network if opened is None else opened.network

    def run(
        self, mode: object = EVAL, seed: int = 0, inputs: object = None, **stages: object
    ) -> Any:
        """(output, statistics afterwards) of some stages."""
        given = self.inputs if inputs is None else inputs
        return self._apply(mode, tuple(stages.items()))(self.variables, given, seed)

    @functools.cache  # noqa: B019 (as long as the check)
    def _apply(self, mode: object, stages: tuple) -> Callable[..., Any]:
        @jax.jit
        def run(variables: object, inputs: object, seed: Any) -> Any:
            rngs = {'dropout': jax.random.key(seed)}
            options = {'modes': mode, 'rngs': rngs, 'mutable': ['batch_stats']}
            return self.network.apply(variables, inputs, **options, **dict(stages))

        return run


def moved(variables: Variables) -> dict[str, Any]:
    """The variables, parameters moved at random by a hundredth of their size or 0.02."""
    draw = np.random.default_rng(0)

    def near(leaf: object) -> object:
        leaf = np.asarray(leaf)
        if not np.issubdtype(leaf.dtype, np.floating):
            return leaf
        size = 0.02 + 0.01 * np.abs(leaf)
        return (leaf + size * draw.normal(size=leaf.shape)).astype(leaf.dtype)

    return {**variables, 'params': jax.tree.map(near, dict(variables['params']))}


class Modes(dict[str, Mode]):
    """A mapping of modes that can be a key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def pairs(stages: tuple[str, ...]) -> list[tuple[str, str | None]]:
    """Each stage with the one after it."""
    return list(zip(stages, [*stages[1:], None], strict=True))


def same(one: object, two: object) -> bool:
    """Whether two outputs are the same bits."""
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, one, two)))


def compared(found: object, expected: object, what: str) -> float:
    """The largest error relative to the largest entry; Wrong where it is above CLOSE."""
    worst = 0.0
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(one, np.float64), np.asarray(two, np.float64)
        if not np.isfinite(a).all():
            raise Wrong(f'{what}: not finite')
        if not np.isfinite(b).all():
            raise Wrong(f'{what}: what they are compared with is not finite')
        size = max(np.abs(b).max(initial=0), 1e-9)
        worst = max(worst, float(np.abs(a - b).max(initial=0) / size))
    if worst > CLOSE:
        raise Wrong(f'{what} differ by {worst:.1e} of their size; at most {CLOSE:g} is rounding')
    return worst
