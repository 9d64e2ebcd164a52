"""The contract of a form of answers: from the outputs of an input's rows to plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.signature import Signature

Answer = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Told:
    """One answer in short, for reference statistics and sketches."""

    said: str
    value: float
    """The probability of the answer, or its value."""
    classes: tuple[str, ...] = ()
    """What was answered, of the bundle's classes; a class may be there several times."""
    best: str = ''
    """The one class that was answered; of several labels the most probable."""
    probable: bool = False
    """Whether the value is a probability."""


class AnswerForm:
    """What outputs are answered as. A form holds no data: one instance serves all bundles."""

    named: ClassVar[bool] = False
    """Whether the outputs are of classes that have names."""
    texts: ClassVar[int] = 1
    """How many texts an input is, where each goes through the network alone."""
    writes: ClassVar[bool] = False
    """Whether the program gives `tokens`, of which the answer is made, beside outputs."""
    asks: ClassVar[str] = ''
    """What one input is, for people who read the API's page; '' for that of the kind of input."""
    example: ClassVar[str] = ''
    """An input as Python writes it; '' for that of the kind of input."""
    gives: ClassVar[str] = ''
    """What is answered, for people; '' for classes or values."""
    lines: ClassVar[str] = ''
    """What the lines of a text field are on the web page, where an input is several texts."""

    def check(self, signature: Signature) -> None:
        """UserError where the signature lacks what the form needs."""

    def of_example(self, example: Any) -> Any:
        """What of an example of a data set an input is; `example` as `raw_of` gives it."""
        return example

    def texts_of(self, raw: Any) -> list[str]:
        """A text and those that go with it, of an input; UserError for what is none."""
        raise UserError(f'the input is {shown(raw)}; the answer is of no several texts')

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """What is answered to one input.

        Args:
          outputs: float32, of each row of the input; of tokens, where they have outputs, with
            padding at their end.
          given: the input.
          signature: of the bundle.

        Raises:
          UserError: an output that is no finite number.
        """
        raise NotImplementedError

    def told(self, answer: Mapping[str, Any]) -> Told:
        """An answer in short."""
        raise NotImplementedError


def check_outputs_finite(outputs: np.ndarray) -> None:
    """UserError unless every output is a number."""
    if not np.isfinite(outputs).all():
        raise UserError('the network gave an output that is no finite number')
