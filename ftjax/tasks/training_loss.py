"""The loss of a task: a sum and a weight, so that means go over whole batches.

What is here is traced into the training step.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.pytrees import Array, Batch
from ftjax.registry import Term

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossOptions:
    """What a config says about the loss."""

    label_smoothing: float = 0.0
    """Share of each target that is spread evenly over all classes."""
    loss: Term | None = None
    """`(outputs, batch) -> losses`, in place of the task's own."""
    class_weights: tuple[float, ...] = ()
    """How much an example of each class counts; () for all alike."""
    target_scale: float = 1.0
    """What errors of a regression are divided by: the deviation of its training targets."""
    class_counts: tuple[int, ...] = ()
    """Training examples of each class, for a loss that asks for them; () for one that does not."""

    def losses(self, outputs: Float[Array, 'batch ...'], batch: Batch) -> Float[Array, 'batch ...']:
        """Those of `loss`, which is given the class counts if it asks for them."""
        assert self.loss is not None
        given = {'class_counts': self.class_counts} if self.class_counts else {}
        return self.loss(outputs, batch, **given)


PLAIN = LossOptions()


class TrainingLoss:
    """What a task is trained by: the part of `Task` that the step calls."""

    loss_unit: ClassVar[str] = ''
    """Of `losses`, for axes; empty where they have none."""

    smooths: ClassVar[bool] = True
    """Whether `losses` makes use of `label_smoothing`."""

    def losses(
        self, outputs: Float[Array, 'batch ...'], batch: Batch, options: LossOptions
    ) -> Float[Array, 'batch ...']:
        """Losses, in the shape of `weights`: of each example, or of each token.

        Args:
          outputs: of the network, with the batch as leading axis.
          batch: all of it: 'inputs', 'labels', 'mask', 'index'; so a loss may compare two views
            of an example, or the examples of a batch (then `mask` tells which are padding).
          options: of the config.
        """
        raise NotImplementedError

    def weights(self, batch: Batch) -> Float[Array, 'batch ...']:
        """How much each of `losses` counts, float32; 0 for padding. Of the batch alone."""
        return batch['mask']

    def loss_weights(self, batch: Batch, options: LossOptions) -> Float[Array, 'batch ...']:
        """`weights` times those of the classes, where a config gives them."""
        if not options.class_weights:
            return self.weights(batch)
        of_classes = jnp.asarray(options.class_weights, jnp.float32)
        return self.weights(batch) * of_classes[batch['labels']]

    def loss(
        self, outputs: Float[Array, 'batch ...'], batch: Batch, options: LossOptions = PLAIN
    ) -> tuple[Float[Array, ''], Float[Array, '']]:
        """(sum, weight) of the loss over a batch; the mean over batches is sums over weights.

        Where inputs are mixed the batch holds `partner` and `share`, and both labels count.
        """
        if 'share' not in batch:
            return self.summed(outputs, batch, options)
        mask, share = batch['mask'], batch['share']
        other = {**batch, 'labels': batch['labels'][batch['partner']], 'mask': mask * (1 - share)}
        pair = ({**batch, 'mask': mask * share}, other)
        sums, weights = zip(*(self.summed(outputs, one, options) for one in pair), strict=True)
        return sum(sums), sum(weights)  # pyrefly: ignore

    def summed(
        self, outputs: Float[Array, 'batch ...'], batch: Batch, options: LossOptions
    ) -> tuple[Float[Array, ''], Float[Array, '']]:
        """(sum, weight) of the loss for the labels of a batch."""
        weights = self.loss_weights(batch, options)
        if options.loss is None:
            losses = self.losses(outputs, batch, options)
        else:
            losses = options.losses(outputs, batch)
            if jnp.shape(losses) != weights.shape:
                raise UserError(
                    f'train.loss {options.loss} gives shape {jnp.shape(losses)}; expected '
                    f'a loss an example, {weights.shape}'
                )
        return (losses * weights).sum(), weights.sum()

    def compares(self, options: LossOptions) -> bool:
        """Whether a loss hangs on the other examples of its batch: parts of one are no batches."""
        del options
        return False

    counts_correct: ClassVar[bool] = False
    """Whether the default metric is the mean of `correct`, and validations note nothing more."""

    def correct(
        self, outputs: Float[Array, 'batch ...'], batch: Batch
    ) -> Float[Array, 'batch ...']:
        """1 where the answer is right, in the shape of `weights`: for programs of many runs."""
        raise NotImplementedError
