"""What of the loss follows from the training examples: class weights and class counts."""

from __future__ import annotations

from ftjax.data import Dataset
from ftjax.errors import UserError
from ftjax.tasks.classes.class_weights import class_weights
from ftjax.tasks.registry import columns_of, loss_of
from ftjax.tasks.task import LossOptions, Task
from ftjax.training.settings import TrainSettings


def loss_options(settings: TrainSettings, task: Task, train: Dataset | None) -> LossOptions:
    """The options of the loss of a run.

    Args:
      settings: `config.train`.
      task: what is trained.
      train: the training split; None where a step is only priced: classes then count alike.

    Raises:
      UserError: an unknown loss or class, or what needs one class an example and has not.
    """
    loss = loss_of(settings.loss, task.name)
    counted = loss is not None and loss.details is not None and loss.details.counts
    missing = set(columns_of(loss)) - set(() if train is None else train.columns)
    if missing:
        raise ValueError(
            f'{settings.loss!r} asks for {sorted(missing)}, which the data do not have'
        )
    if settings.label_smoothing and not task.smooths:
        raise UserError(
            f'train.label_smoothing is {settings.label_smoothing:g}, and the loss of data.task '
            f'{task.name} has no classes to spread it over; leave it out'
        )
    options = LossOptions(label_smoothing=settings.label_smoothing, loss=loss)
    if not (settings.class_weights or counted):
        return options
    if not task.labels.one_class:
        what = f'train.loss {settings.loss!r}' if counted else 'train.class_weights'
        raise UserError(f'{what} needs one class an example; data.task is {task.name}')
    if train is None:
        if counted:
            raise ValueError(f'{settings.loss!r} asks for class counts, and there are no data')
        return options
    counts = train.label_kind.counts(train.labels, train.num_classes) or ()
    return LossOptions(
        label_smoothing=settings.label_smoothing,
        loss=loss,
        class_weights=class_weights(settings.class_weights, counts, train.class_names),
        class_counts=tuple(counts) if counted else (),
    )
