"""A tag for each word of a text. What is resampled are texts, not words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ftjax.data.labels.tags import Tags
from ftjax.data.text.token_masking import NOT_ASKED
from ftjax.evaluation.metric import MetricValues, error, share
from ftjax.evaluation.predictions import check_class_names, finite_rows
from ftjax.evaluation.ratio import Ratio
from ftjax.evaluation.spans import scheme_of, tag_rows, told_spans
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.classes.class_table import class_table
from ftjax.tasks.error_analysis import Baseline
from ftjax.tasks.losses import cross_entropy
from ftjax.tasks.registry import task
from ftjax.tasks.spans.span_errors import marked, worst_texts
from ftjax.tasks.spans.span_metrics import SPAN_METRICS, names_of_tags, tag_metrics
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line

if TYPE_CHECKING:
    from jaxtyping import Float

    from ftjax.data.dataset import Dataset


@task('token_classification')
class TokenClassification(Task):
    """A tag for each word, and the spans that tags say: see `Scheme`.

    The first token of a word answers for it; other tokens weigh nothing. A word of which the
    tokenizer leaves nothing is the unknown token. Each word of a text that is several windows
    counts once.
    """

    labels = Tags()
    metrics = (
        share('span_f1', 'span F1'),
        share('span_precision', 'span precision'),
        share('span_recall', 'span recall'),
        share('span_f1_macro', 'macro span F1'),
        share('word_accuracy', 'accuracy of words'),
        error('loss', also=('log_loss',), unit='nats'),
    )
    default_metric = 'span_f1'
    loss_unit = 'nats'
    noted = ('word_accuracy',)
    unit = 'texts'
    counted = 'texts'
    served = 'tags'
    pipelines: ClassVar = {'texts': 'token-classification'}

    def losses(
        self, outputs: Float[Array, '*axes tags'], batch: Batch, options: LossOptions
    ) -> Float[Array, '*axes']:
        """Cross-entropy in nats of each token, of int32 labels (batch, ..)."""
        return cross_entropy(outputs, batch['labels'], options.label_smoothing)

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """Of each text the true tags and the answers, word by word, and the nats of its words."""
        asked = (np.asarray(batch['mask']) > 0).reshape(len(outputs), -1)
        text, sizes = np.nonzero(asked)[0], asked.sum(axis=1)
        logits = outputs.reshape(*asked.shape, -1)[asked].astype(np.float64)
        labels = np.asarray(batch['labels']).reshape(asked.shape)[asked]
        with np.errstate(invalid='ignore', over='ignore'):  # outputs that are no numbers
            highest = logits.max(axis=-1, keepdims=True)
            total = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=-1))
            nats = total - logits[np.arange(len(labels)), labels]
        place = np.arange(sizes.max(initial=1)) < sizes[:, None]
        rows = {}
        for name, tags in (('true', labels), ('answered', logits.argmax(axis=-1))):
            rows[name] = np.full(place.shape, NOT_ASKED, np.int32)
            rows[name][place] = tags
        broken = np.bincount(text, ~finite_rows(logits), minlength=len(asked))
        rows |= {'nats': np.bincount(text, nats, minlength=len(asked)), 'finite': broken == 0}
        return Statistics(rows)

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Numbers over all spans and all words, with intervals over texts.

        `span_precision`, `span_recall` and `span_f1` over all spans, `span_f1_macro`, the mean over
        types that occur, `word_accuracy`, `loss` in nats a word; `words`; `per_class` (name,
        precision, recall, f1, support of each type); and `confusions`: spans with both ends right
        and another type. None for what is undefined: no span is true.
        """
        return tag_metrics(found, class_names, wanted)

    def ratio(self, found: Statistics) -> Ratio:
        """The accuracy of words: F1 needs the names of the tags."""
        true, metric = found.rows['true'], self.metric('word_accuracy')
        assert metric is not None
        right = ((true == found.rows['answered']) & (true >= 0)).sum(axis=1)
        return Ratio(metric, right.astype(np.float64), (true >= 0).sum(axis=1).astype(np.float64))

    def example(
        self, output: np.ndarray, label: object, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """The tags, the answers, and the mean loss of a word."""
        label = np.asarray(label)
        batch = {'labels': label[None], 'mask': label[None] != NOT_ASKED}
        rows = self.statistics(output[None], batch, None).rows
        names = check_class_names(class_names, output.shape[-1])
        true, answered = (tag_rows(rows[name])[0] for name in ('true', 'answered'))
        return {
            'label': ' '.join(names[tag] for tag in true),
            'predicted': ' '.join(names[tag] for tag in answered),
            'loss': float(rows['nats'][0] / max(len(true), 1)),
        }

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted`: the tags of each text, parted by spaces.

        Outputs are an object array (n,) of (words, tags) each.
        """
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        tags = [np.argmax(each, axis=-1) for each in outputs]
        names = check_class_names(class_names, outputs[0].shape[-1] if len(outputs) else 0)
        return {'predicted': [' '.join(names[tag] for tag in each) for each in tags]}

    def answers_to(
        self,
        inputs: Sequence[Any],
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """As `answers`, and `spans`: `TYPE[0:2] its words`, parted by |; words count from 0."""
        columns = self.answers(outputs, class_names, options)
        scheme = scheme_of(check_class_names(class_names, outputs[0].shape[-1]))
        pairs = zip(inputs, outputs, strict=True)
        spans = [told_spans(text, scheme.named(each.argmax(axis=-1))) for text, each in pairs]
        return {**columns, 'spans': ['|'.join(each) for each in spans]}

    def columns(self, found: Statistics, class_names: Sequence[str]) -> dict[str, np.ndarray]:
        """How many words and spans a text has."""
        scheme = scheme_of(names_of_tags(found, class_names))
        spans = [sum(1 for _ in scheme.spans(tags)) for tags in tag_rows(found.rows['true'])]
        return {'words': (found.rows['true'] >= 0).sum(axis=1), 'spans': np.array(spans, int)}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The texts with most spans that are missed or not there."""
        return worst_texts(found, ids, class_names, limit)

    def in_context(
        self, mistake: Mapping[str, Any], data: Dataset, place: int
    ) -> dict[str, object]:
        """The text with its spans marked, as they are true and as they were answered."""
        text = str(data.inputs[place])
        both = [marked(text, mistake[name]) for name in ('label', 'predicted')]
        told = {k: v for k, v in mistake.items() if k not in ('label', 'predicted')}
        return {**told, 'texts': [f'true: {both[0]}', f'answered: {both[1]}']}

    def confusions(self, metrics: MetricValues, limit: int = 10) -> list[dict[str, Any]]:
        """Types that were answered for one another, with both ends right."""
        return list(metrics.get('confusions') or [])[:limit]

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """The most frequent tag of the training words, for every word."""
        counts = np.bincount(labels[labels != NOT_ASKED], minlength=1)
        best = int(counts.argmax())
        true = found.rows['true']
        always = np.where(true >= 0, best, NOT_ASKED)
        given = Statistics({**found.rows, 'answered': always, 'nats': np.zeros(len(true))})
        values = self.values(given, class_names, {'span_f1'})
        known = {k: v for k, v in values.items() if v is not None and k != 'loss'}
        return [Baseline(f'always {names_of_tags(found, class_names)[best]}', known)]

    def text(self, metrics: MetricValues) -> str:
        """A row for each type of span with averages below, then accuracy and loss."""
        lines = class_table(metrics, ('precision', 'recall', 'f1'), ())
        lines.append(f'texts          {metrics["n"]} of {metrics["words"]:,} words')
        names = (*SPAN_METRICS, 'word_accuracy', 'loss')
        lines += [metric_line(metrics, name, f'{name:<14}', '.4f') for name in names]
        return '\n'.join(lines)
