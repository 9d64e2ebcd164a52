"""What a network's outputs on new inputs are written as: columns of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.tasks.threshold import Threshold

Columns = dict[str, Sequence[Any] | np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How answers are made of outputs, and which columns there are."""

    top_k: int = 0
    """Most probable classes in columns of their own, with their probabilities."""
    probabilities: bool = True
    """Whether every class has a column with its probability."""
    temperature: float = 1.0
    """Logits are divided by it: fitted on validation data, it calibrates probabilities."""
    threshold: Threshold | None = None
    """Probability from which a class is answered: of the second of two classes, or of each of
    several labels; None for the task's own."""
    before_temperature: bool = False
    """Whether the threshold is of probabilities as the network gives them, as a run chose it."""
    nonconformity: float | None = None
    """A class is in the prediction set if its probability is at least 1 minus this; None for no
    sets."""

    def __post_init__(self):
        if self.top_k < 0:
            raise UserError(f'top_k is {self.top_k}; expected 0 or more')
        if not self.temperature > 0:
            raise UserError(f'temperature is {self.temperature:g}; expected a number above 0')
        own = self.before_temperature  # a run's may lie just beyond 1: never answered
        if isinstance(self.threshold, float | int) and not (own or 0 < self.threshold < 1):
            raise UserError(f'threshold is {self.threshold:g}; expected a number between 0 and 1')


ANSWERS = AnswerOptions()
CLASS_PIPELINES = {
    'images': 'image-classification',
    'texts': 'text-classification',
    'table': 'tabular-classification',
}
"""`pipelines` of a task that answers with classes."""


def class_columns(
    probabilities: np.ndarray, names: Sequence[str], options: AnswerOptions
) -> Columns:
    """`top1`, `top1_probability`, .. and `p:CLASS` from (n, classes), as asked for."""
    columns: Columns = {}
    order = np.argsort(-probabilities, axis=1, kind='stable')[:, : options.top_k]
    for place in range(order.shape[1]):
        at = order[:, place]
        columns[f'top{place + 1}'] = [names[c] for c in at]
        columns[f'top{place + 1}_probability'] = probabilities[np.arange(len(at)), at]
    if options.probabilities:
        columns |= {f'p:{name}': probabilities[:, c] for c, name in enumerate(names)}
    return columns


def refuse(options: AnswerOptions, task: str, *fields: str) -> None:
    """UserError for options that mean nothing for a task."""
    for field in fields:
        if getattr(options, field) != getattr(ANSWERS, field):
            raise UserError(f'{field} means nothing for a network of task {task}; leave it out')


class Answering:
    """What a task makes of outputs on new inputs: the part of `Task` that needs no labels."""

    name = ''
    activation: ClassVar[str] = 'none'
    """What makes probabilities of outputs, one of `evaluation.decisions.DECISIONS`; or none."""

    served: ClassVar[str] = 'outputs'
    """What a bundle answers with: one of `serving.bundle.answer_forms.forms.FORMS`; `outputs` for
    classes as `activation` says, or values; '' where there is nothing to serve."""

    pipelines: ClassVar[Mapping[str, str]] = {}
    """What the Hugging Face hub calls the task, by what the network takes: `images`, `texts` or
    `table`; none where it has no name for it, or where exports are of no class of its pipeline."""

    problem_type: ClassVar[str] = ''
    """`problem_type` of transformers, by which its pipelines make answers of outputs; '' for none
    of its three."""

    no_answer: ClassVar[str] = ''
    """Why the task has no answer to a whole input, and what there is instead; '' if it has."""

    def check_answers(self) -> None:
        """UserError where the task has no answer to a whole input."""
        if self.no_answer:
            raise UserError(self.no_answer)

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """What people get of outputs (n, ..) on new inputs: columns of n values.

        Raises:
          UserError: the options, or an answer at all, mean nothing for the task.
        """
        self.check_answers()
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        flat = outputs.reshape(len(outputs), -1)
        return {f'output_{i}': flat[:, i] for i in range(flat.shape[1])}

    def mask(self, output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The answer to one input as an image: uint8 (rows, columns) of `size`, class indices.

        Raises:
          UserError: the task has no answer for each pixel.
        """
        raise UserError(
            f'a network of task {self.name} gives no masks; write its answers to a .csv or .jsonl '
            'file'
        )

    def answers_to(
        self,
        inputs: Sequence[object],
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """As `answers`, for a task whose answers also tell of the inputs: parts of a text, say."""
        del inputs
        return self.answers(outputs, class_names, options)

    def calibration(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """What is fitted on validation outputs (n, ..) so that probabilities can be relied on.

        Raises:
          UserError: the task has no probabilities.
        """
        raise UserError(f'a network of task {self.name} gives no probabilities to calibrate')

    def reliability(
        self,
        outputs: np.ndarray,
        labels: np.ndarray,
        fitted: JsonObject | None = None,
        groups: np.ndarray | None = None,
    ) -> dict[str, object]:
        """How far probabilities can be relied on, where there are any; else {}.

        `groups` (n,) is what each example belongs to; None where examples are independent.
        """
        return {}
