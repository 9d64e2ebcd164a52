"""What a strategy that looks at the data may ask for; the training room answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from ftjax.pytrees import Variables


class Probe(Protocol):
    """Gradients and trials at the present weights, in evaluation mode, without an update.

    All dicts are flat, {leaf: array}, over the leaves that may train.
    """

    @property
    def seed(self) -> int:
        """The run's."""
        ...

    @property
    def params(self) -> Variables:
        """The present weights."""
        ...

    @property
    def recorded(self) -> Mapping[str, object]:
        """Sums of the gradients of all steps since the last choice, where it was asked for."""
        ...

    def gradients(self, batches: int) -> Iterator[Mapping[str, object]]:
        """The gradient of the mean loss of each of some training batches."""
        ...

    def example_gradients(self, examples: int) -> Iterator[Mapping[str, object]]:
        """Gradients of single training examples, stacked on a leading axis, part by part."""
        ...

    def contrastive_gradients(
        self, epochs: float, temperature: float
    ) -> Iterator[Mapping[str, object]]:
        """The gradient, batch by batch, of a supervised contrastive loss on what the head is given.

        Source of the loss: Khosla et al. 2020, arXiv:2004.11362. The head has no gradient.

        Raises:
          UserError: a task without one class an example, or a head that takes more than a vector.
        """
        ...

    def trial(self, leaves: frozenset[str], folds: int, epochs: float) -> float:
        """Mean held-out accuracy over folds of the training split when `leaves` train."""
        ...
