"""Causal language models: how well the next token of a text or an answer is guessed.

The network's head scores the tokens that follow and gives no logits: of a whole batch these would
be its largest array by far (ftjax/models/layers/token_scores.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ftjax.data.labels.next_tokens import NextTokens
from ftjax.evaluation.intervals import bootstrap_interval, score_of_sums_interval, units
from ftjax.evaluation.metric import MetricValues, error, share
from ftjax.evaluation.predictions import finite_rows
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.registry import task
from ftjax.tasks.spans.token_errors import TokenErrors, accuracy_of, defined, loss_of, text_row
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, metric_line

if TYPE_CHECKING:
    from jaxtyping import Float


@task('causal_lm')
class CausalLM(TokenErrors):
    """Tokens that follow, of texts, of completions of prompts, or of what an assistant says.

    Outputs are the scores (batch, time, 3) of `token_scores`. All numbers are over the tokens of a
    whole split; what is resampled are texts, whose tokens have too much in common.
    """

    labels = NextTokens()
    metrics = (
        error('nll', 'negative log-likelihood of a token', also=('loss',), unit='nats'),
        error('perplexity', low=1.0),
        error('bits_per_byte', 'bits a byte', unit='bits'),
        share('accuracy', 'next-token accuracy'),
    )
    default_metric = 'nll'
    loss_unit = 'nats'
    noted = ('accuracy',)
    unit = 'texts'
    counted = 'tokens'
    asked = 'token'
    served = 'texts'
    pipelines: ClassVar = {'texts': 'text-generation'}

    def losses(
        self, outputs: Float[Array, 'batch time scores'], batch: Batch, options: LossOptions
    ) -> Float[Array, 'batch time']:
        """Cross-entropy in nats of the token that follows each token."""
        smoothing = options.label_smoothing
        if not smoothing:
            return outputs[..., 0]
        return (1 - smoothing) * outputs[..., 0] + smoothing * outputs[..., 1]

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """Of each text: nats, tokens guessed right, tokens that count, bytes of these."""
        counts = np.asarray(batch['mask']) > 0
        scores = np.where(counts[..., None], outputs.astype(np.float64), 0)
        columns = (
            scores[..., 0],
            scores[..., 2],
            counts,
            np.where(counts, batch['labels'][..., 1], 0),
        )
        sums = np.stack([column.sum(axis=1, dtype=np.float64) for column in columns], axis=1)
        return Statistics({'sums': sums, 'finite': finite_rows(scores.reshape(len(scores), -1))})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Numbers over all tokens that count.

        `nll`, nats a token; `perplexity`, its exponential; `bits_per_byte`, nats over ln 2 and the
        bytes of the text, None of texts without any, so that networks with different tokenizers
        can be compared; `accuracy`; each with its interval over texts. `n` tokens of so many
        `texts` and `bytes`; None of all where no token counts.
        """
        sums = found.rows['sums']
        kinds = {
            'nll': loss_of,
            'perplexity': _perplexity,
            'bits_per_byte': _bits_per_byte,
            'accuracy': accuracy_of,
        }
        result: dict[str, Any] = defined({name: of(sums) for name, of in kinds.items()})
        if wanted is not None:
            return result
        resampled = units(sums, found.rows.get('group'))
        intervals = {
            f'{metric.name}_interval': bootstrap_interval(
                resampled, kinds[metric.name], within=metric.bounds
            )
            for metric in self.metrics
            if metric.name != 'accuracy' and result[metric.name] is not None
        }
        if result['accuracy'] is not None:
            intervals['accuracy_interval'] = score_of_sums_interval(resampled, accuracy_of)
        counted = {'n': int(sums[:, 2].sum()), 'texts': len(sums), 'bytes': int(sums[:, 3].sum())}
        return {**counted, **result, **intervals}

    def example(self, output: np.ndarray, label: Any, class_names: Sequence[str]) -> dict[str, Any]:
        """How many tokens of the text count, how many are guessed, and the mean loss."""
        label = np.asarray(label)
        batch = {'labels': label[None], 'mask': self.labels.asked(label)[None]}
        return dict(text_row(self.statistics(output[None], batch, None).rows['sums'][0]))

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """How well a text is guessed: `nll`, nats a token, `perplexity`, `accuracy`, and how many
        `tokens` count, of those that the network sees. scripts/generate.py writes texts.

        Outputs are an object array (n,) of (tokens, 3) each.
        """
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        sums = np.array(
            [[*each[:, [0, 2]].sum(axis=0, dtype=float), len(each)] for each in outputs]
        )
        rows = [row[None] for row in sums]
        return {
            'nll': [loss_of(row) for row in rows],
            'perplexity': [_perplexity(row) for row in rows],
            'accuracy': [accuracy_of(row) for row in rows],
            'tokens': [len(each) for each in outputs],
        }

    def text(self, metrics: MetricValues) -> str:
        """All metrics with their intervals."""
        told = [name for name in (m.name for m in self.metrics) if metrics.get(name) is not None]
        lines = [f'{"tokens":<14} {metrics["n"]:,} of {metrics["texts"]:,} texts']
        lines += [metric_line(metrics, name, f'{name:<14}', '.4f') for name in told]
        return '\n'.join(lines)


def _perplexity(sums: np.ndarray) -> float:
    return math.exp(min(loss_of(sums), 700.0))


def _bits_per_byte(sums: np.ndarray) -> float:
    bytes_ = sums[:, 3].sum()
    return float(sums[:, 0].sum() / (math.log(2) * bytes_)) if bytes_ else math.nan
