"""Hidden tokens of texts: how well they are guessed. What is resampled are texts, not tokens."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.data.labels.tokens import HiddenTokens
from ftjax.evaluation.intervals import bootstrap_interval, score_of_sums_interval, units
from ftjax.evaluation.metric import MetricValues, error, share
from ftjax.evaluation.predictions import finite_rows
from ftjax.tasks.error_analysis import Baseline
from ftjax.tasks.losses import cross_entropy
from ftjax.tasks.registry import task
from ftjax.tasks.spans.token_errors import TokenErrors, accuracy_of, defined, loss_of, text_row
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, metric_line

if TYPE_CHECKING:
    from jaxtyping import Float


@task('masked_tokens')
class MaskedTokens(TokenErrors):
    """Tokens of a text that the network does not see.

    The tokens of a text have its topic and its length in common: they are no independent sample,
    and an interval over tokens would be too narrow.
    """

    labels = HiddenTokens()
    metrics = (
        share('accuracy'),
        error('loss', also=('log_loss',), unit='nats'),
        error('perplexity', low=1.0),
    )
    default_metric = 'loss'
    loss_unit = 'nats'
    noted = ('accuracy',)
    unit = 'texts'
    counted = 'hidden tokens'
    asked = 'hidden token'
    served = ''
    no_answer = (
        'the network guesses hidden tokens of texts and has no answer to a whole one; train it on '
        'for a task that has (config.init is the run), or write embeddings of its texts '
        '(scripts/predict.py --features=STAGE)'
    )

    def losses(
        self, outputs: Float[Array, 'batch time vocabulary'], batch: Batch, options: LossOptions
    ) -> Float[Array, 'batch time']:
        """Cross-entropy in nats of each token."""
        return cross_entropy(outputs, batch['labels'], options.label_smoothing)

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """Of each text: nats, tokens guessed right, tokens asked for; how often each was true."""
        asked = np.asarray(batch['mask']) > 0
        text = np.nonzero(asked)[0]
        logits, labels = outputs[asked].astype(np.float64), batch['labels'][asked]
        nats = np.zeros(len(labels))
        if wanted is None or set(wanted) - {'accuracy'}:
            with np.errstate(invalid='ignore', over='ignore'):  # outputs that are no numbers
                highest = logits.max(axis=-1, keepdims=True)
                total = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=-1))
            nats = total - logits[np.arange(len(labels)), labels]
        columns = nats, logits.argmax(axis=-1) == labels, np.ones(len(labels))
        sums = [np.bincount(text, column, minlength=len(asked)) for column in columns]
        broken = np.bincount(text, ~finite_rows(logits), minlength=len(asked))
        counts = np.bincount(labels, minlength=outputs.shape[-1])
        return Statistics({'sums': np.stack(sums, 1), 'finite': broken == 0}, {'tokens': counts})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Numbers over all tokens that were asked for.

        `loss`, the cross-entropy in nats, and `accuracy`, each with its interval over texts;
        `perplexity`; `n` tokens of so many `texts`; `unigram_entropy`, the entropy (nats) of the
        asked tokens' frequencies: no guess that ignores the sentence has a lower loss.
        """
        sums = found.rows['sums']
        loss, accuracy = loss_of(sums), accuracy_of(sums)
        known = {'loss': loss, 'perplexity': math.exp(min(loss, 700.0)), 'accuracy': accuracy}
        result = defined(known)
        if wanted is not None:
            return result
        resampled = units(sums, found.rows.get('group'))
        shares = found.sums['tokens'] / max(found.sums['tokens'].sum(), 1)
        shares = shares[shares > 0]
        return {
            'n': int(sums[:, 2].sum()),
            'texts': len(sums),
            **result,
            'loss_interval': bootstrap_interval(resampled, loss_of, within=(0.0, None)),
            'accuracy_interval': score_of_sums_interval(resampled, accuracy_of),
            'unigram_entropy': float(-(shares * np.log(shares)).sum()),
        }

    def example(
        self, output: np.ndarray, label: object, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """How many tokens of the text were asked for, how many guessed, and the mean loss."""
        label = np.asarray(label)
        batch = {'labels': label[None], 'mask': label[None] >= 0}
        return dict(text_row(self.statistics(output[None], batch, None).rows['sums'][0]))

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """The frequencies of the hidden tokens: no guess that ignores the text has a lower loss."""
        entropy = metrics.get('unigram_entropy')
        if entropy is None:
            return []
        return [Baseline('token frequencies', {'loss': entropy, 'perplexity': math.exp(entropy)})]

    def text(self, metrics: MetricValues) -> str:
        """Loss and accuracy with their intervals, and the loss that knows only frequencies."""
        lines = [f'hidden tokens  {metrics["n"]}']
        lines += [metric_line(metrics, name, f'{name:<14}', '.4f') for name in ('loss', 'accuracy')]
        lines.append(metric_line(metrics, 'perplexity', f'{"perplexity":<14}', '.2f'))
        lines.append(f'by frequencies {metrics["unigram_entropy"]:.4f} (their entropy, nats)')
        return '\n'.join(lines)
