"""The right one of several choices: each is scored with its text, and the scores compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.labels.choices import Choices, texts_there
from ftjax.errors import UserError
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.evaluation.intervals import mean_interval, share_interval
from ftjax.evaluation.metric import MetricValues, error, share
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.predictions import finite_rows, softmax
from ftjax.evaluation.ratio import Ratio
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.error_analysis import Baseline
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task

if TYPE_CHECKING:
    from jaxtyping import Float

NOWHERE = -1e30
"""The score of a choice that is not there."""


@task('multiple_choice')
class MultipleChoice(Task):
    """Which of some texts goes with another."""

    labels = Choices()
    metrics = (share('accuracy'), error('log_loss', also=('loss',), unit='nats'))
    default_metric = 'accuracy'
    loss_unit = 'nats'
    noted = ('accuracy',)
    served = 'choice'

    def losses(
        self, outputs: Float[Array, 'batch choices 1'], batch: Batch, options: LossOptions
    ) -> Float[Array, ' batch']:
        """Cross-entropy over the scores of the choices that are there.

        What label smoothing spreads, it spreads over these alone.
        """
        right, count = batch['labels'][:, 0], batch['labels'][:, 1]
        there = jnp.arange(outputs.shape[1]) < count[:, None]
        logs = jax.nn.log_softmax(jnp.where(there, outputs[..., 0], NOWHERE), axis=-1)
        nats = -jnp.take_along_axis(logs, right[:, None], axis=1)[:, 0]
        smoothing = options.label_smoothing
        if not smoothing:
            return nats
        even = -jnp.where(there, logs, 0.0).sum(axis=-1) / jnp.maximum(count, 1)
        return (1 - smoothing) * nats + smoothing * even

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """The right choice, the answer, the nats of the right one, and how many there are."""
        given = np.asarray(batch['labels'], np.int64)
        if outputs.ndim != 3 or outputs.shape[2] != 1 or given.shape != (len(outputs), 2):
            raise UserError(
                f'scores of shape {outputs.shape} beside labels of {given.shape}: expected a score '
                'for each choice, and the right one with the number of choices'
            )
        labels, choices = given.T
        there = np.arange(outputs.shape[1]) < choices[:, None]
        scores = np.where(there, outputs[..., 0].astype(np.float64), -np.inf)
        with np.errstate(invalid='ignore', over='ignore'):  # outputs that are no numbers
            shifted = scores - scores.max(axis=1, keepdims=True)
            norm = np.log(np.exp(shifted).sum(axis=1))
        nats = norm - shifted[np.arange(len(labels)), labels]
        answers = {'label': labels, 'predicted': scores.argmax(axis=1), 'nats': nats}
        finite = finite_rows(np.where(there[..., None], outputs, 0))
        return Statistics({**answers, 'choices': choices, 'finite': finite})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """`accuracy` and `log_loss` (nats) with intervals over examples."""
        right = found.rows['label'] == found.rows['predicted']
        values = {'accuracy': float(right.mean()), 'log_loss': float(found.rows['nats'].mean())}
        if wanted is not None:
            return values
        group = found.rows.get('group')
        return {
            **values,
            'accuracy_interval': share_interval(right, group),
            'log_loss_interval': mean_interval(found.rows['nats'], group, (0.0, None)),
        }

    def ratio(self, found: Statistics) -> Ratio:
        """Accuracy."""
        right = (found.rows['label'] == found.rows['predicted']).astype(np.float64)
        return Ratio(self.metrics[0], right, np.ones(len(right)))

    def example_scores(self, found: Statistics) -> ExampleScores:
        """Whether each answer is right."""
        right = found.rows['label'] == found.rows['predicted']
        return ExampleScores(metric='accuracy', values=right)

    def example(self, output: np.ndarray, label: Any, class_names: Sequence[str]) -> dict[str, Any]:
        """The right choice, the answer, and the probability of both."""
        label, choices = np.asarray(label).tolist()
        probabilities = softmax(output[:choices, 0])
        best = int(np.argmax(probabilities))
        return {
            'label': int(label),
            'predicted': best,
            'confidence': float(probabilities[best]),
            'label_probability': float(probabilities[int(label)]),
        }

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted`, the number of the choice from 0, its `probability`, and `probabilities`, of
        all.
        """
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        scores = outputs.reshape(len(outputs), -1)
        return _columns(scores, np.ones(scores.shape, bool), options)

    def answers_to(
        self,
        inputs: Sequence[Any],
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """As `answers`, and the text of the `choice`; nothing of choices that are not there."""
        self.answers(outputs, class_names, options)  # refuses options
        counts = np.array([texts_there(texts) - 1 for texts in inputs])
        there = np.arange(len(inputs[0]) - 1) < counts[:, None]
        columns = _columns(outputs.reshape(there.shape), there, options)
        chosen = zip(inputs, columns['predicted'], strict=True)
        return {**columns, 'choice': [str(texts[1 + number]) for texts, number in chosen]}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The wrong answers whose right choice is least probable."""
        wrong = found.rows['label'] != found.rows['predicted']
        return [
            {
                'id': str(ids[i]),
                'position': int(i),
                'label': int(found.rows['label'][i]),
                'predicted': int(found.rows['predicted'][i]),
                'label_probability': float(np.exp(-found.rows['nats'][i])),
            }
            for i in largest(np.where(wrong, found.rows['nats'], -1), limit)
            if wrong[i]
        ]

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """A choice by chance, and always the one that is most often right in training."""
        best = int(np.bincount(labels[:, 0]).argmax()) if len(labels) else 0
        right = float((found.rows['label'] == best).mean())
        chance = float((1 / found.rows['choices']).mean())
        return [
            Baseline('by chance', {'accuracy': chance}),
            Baseline(f'always choice {best}', {'accuracy': right}),
        ]


def _columns(scores: np.ndarray, there: np.ndarray, options: AnswerOptions) -> Columns:
    """Answers of scores (n, choices), those that are `there`."""
    chances = softmax(np.where(there, scores, -np.inf))
    best = chances.argmax(axis=1)
    columns: Columns = {'predicted': best, 'probability': chances[np.arange(len(best)), best]}
    if options.probabilities:
        rows = [row[known] for row, known in zip(chances, there, strict=True)]
        columns['probabilities'] = [' '.join(f'{chance:.6g}' for chance in row) for row in rows]
    return columns
