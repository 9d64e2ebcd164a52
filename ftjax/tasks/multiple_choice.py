"""The right one of several choices: each is scored with its text, and the scores compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.data.labels.choices import Choices
from ftjax.errors import UserError
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.evaluation.intervals import mean_interval, share_interval
from ftjax.evaluation.metric import MetricValues, error, share
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.predictions import softmax
from ftjax.evaluation.ratio import Ratio
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.error_analysis import Baseline
from ftjax.tasks.losses import cross_entropy
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task

if TYPE_CHECKING:
    from jaxtyping import Float


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
        """Cross-entropy over the scores of the choices."""
        return cross_entropy(outputs[..., 0], batch['labels'], options.label_smoothing)

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """The right choice, the answer, and the nats of the right one."""
        if outputs.ndim != 3 or outputs.shape[2] != 1:
            raise UserError(f'scores of shape {outputs.shape}: expected one for each choice')
        labels = np.asarray(batch['labels'], np.int64)
        scores = outputs[..., 0].astype(np.float64)
        with np.errstate(invalid='ignore', over='ignore'):  # outputs that are no numbers
            shifted = scores - scores.max(axis=1, keepdims=True)
            norm = np.log(np.exp(shifted).sum(axis=1))
        nats = norm - shifted[np.arange(len(labels)), labels]
        return Statistics({'label': labels, 'predicted': scores.argmax(axis=1), 'nats': nats})

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
            'log_loss_interval': mean_interval(found.rows['nats'], group),
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
        probabilities = softmax(output[:, 0])
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
        """`predicted`, the number of the choice from 0, and its `probability`."""
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        probabilities = softmax(outputs.reshape(len(outputs), -1))
        best = probabilities.argmax(axis=1)
        return {'predicted': best, 'probability': probabilities[np.arange(len(best)), best]}

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
        """Always the choice that is most often right in training."""
        best = int(np.bincount(labels).argmax()) if len(labels) else 0
        right = float((found.rows['label'] == best).mean())
        return [Baseline(f'always choice {best}', {'accuracy': right})]
