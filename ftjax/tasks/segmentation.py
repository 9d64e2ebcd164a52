"""A class for each pixel of an image: cross-entropy, and metrics from one confusion matrix.

Logits come at the size of the head's finest map. The loss brings them to the size of the images,
metrics to that of each label. What is resampled are images, not pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.labels.pixels import PixelClasses
from ftjax.data.masks.mask_values import NOT_COUNTED
from ftjax.errors import UserError
from ftjax.evaluation.intervals import (
    bootstrap_intervals_of_sums,
    clipped,
    interval_at_bound,
    units,
)
from ftjax.evaluation.metric import MetricValues, share
from ftjax.evaluation.pixel_answers import answered, class_shares
from ftjax.evaluation.predictions import check_class_names, finite_rows
from ftjax.evaluation.ratio import Ratio
from ftjax.models.layers.resize import resized
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.classes.class_table import class_table
from ftjax.tasks.pixels import pixel_metrics
from ftjax.tasks.pixels.pixel_counts import boundary_counts, confusion
from ftjax.tasks.pixels.pixel_errors import PixelErrors
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

_SCORES = ('miou', 'dice', 'pixel_accuracy', 'boundary_f1')


@task('segmentation')
class Segmentation(PixelErrors, Task):
    """One class a pixel."""

    labels = PixelClasses()
    metrics = (
        share('miou', 'mIoU'),
        share('dice', 'Dice'),
        share('pixel_accuracy'),
        share('boundary_f1', 'boundary F1'),
    )
    default_metric = 'miou'
    loss_unit = 'nats'
    noted = ('miou', 'pixel_accuracy')
    unit = 'images'
    counted = 'images'
    served = 'masks'
    pipelines: ClassVar = {'images': 'image-segmentation'}

    def losses(
        self,
        outputs: Float[Array, 'batch rows columns classes'],
        batch: Batch,
        options: LossOptions,
    ) -> Float[Array, 'batch height width']:
        """Cross-entropy in nats of each pixel; of one that is not counted it means nothing."""
        labels = jnp.asarray(batch['labels'])
        _, height, width = labels.shape
        logits = resized(jnp.asarray(outputs, jnp.float32), (height, width))
        right = labels[..., None] == jnp.arange(logits.shape[-1], dtype=labels.dtype)
        picked = jnp.where(right, logits, 0).sum(axis=-1)
        smooth = options.label_smoothing
        if smooth:
            picked = (1 - smooth) * picked + smooth * logits.mean(axis=-1)
        return jax.nn.logsumexp(logits, axis=-1) - picked

    def weights(self, batch: Batch) -> Float[Array, 'batch height width']:
        """1 for each pixel that is counted."""
        return batch['mask'][:, None, None] * (batch['labels'] != NOT_COUNTED)

    def summed_on_host(
        self, outputs: Array, batch: Batch, options: LossOptions
    ) -> tuple[float, float]:
        """Image by image: the logits of a whole batch at the images' size may be a gigabyte."""
        total = np.zeros(2)
        for at in range(len(outputs)):
            one = {name: np.asarray(batch[name][at : at + 1]) for name in ('labels', 'mask')}
            total += super().summed_on_host(outputs[at : at + 1], one, options)
        return float(total[0]), float(total[1])

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """Of each image: right pixels, those of label and answer, boundary pixels; the matrix."""
        if outputs.ndim != 4:
            raise UserError(
                f'outputs need shape (images, rows, columns, classes), not {outputs.shape}'
            )
        classes, edges = outputs.shape[-1], wanted is None or 'boundary_f1' in wanted
        rows: dict[str, list[np.ndarray]] = {'pixels': [], **({'boundary': []} if edges else {})}
        total = np.zeros((classes, classes), np.int64)
        for logits, label in zip(outputs, _labels(batch), strict=True):
            answer = answered(logits, label.shape)
            matrix = confusion(label, answer, classes)
            total += matrix
            rows['pixels'].append(np.stack([np.diag(matrix), matrix.sum(1), matrix.sum(0)]))
            if edges:
                rows['boundary'].append(boundary_counts(label, answer, classes))
        found = {name: np.stack(values) for name, values in rows.items()}
        return Statistics({**found, 'finite': finite_rows(outputs)}, {'confusion': total})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Numbers over the whole set, from counts that were added over images.

        `miou`, `dice` and `boundary_f1`, means over the classes that occur in labels or answers,
        and `pixel_accuracy`, each with its interval over images; `pixels` that were counted;
        `per_class` (name, iou, dice, boundary_f1, share of the counted pixels, and support, the
        images whose label has it) and `pixel_confusion` (rows true, columns answered).
        None for what is undefined.
        """
        counts = np.asarray(found.rows['pixels'], np.float64)
        edges = found.rows.get('boundary')
        summed = counts.sum(axis=0)
        scores = _scores(summed, None if edges is None else edges.sum(axis=0))
        result: dict[str, Any] = {name: _number(value) for name, value in scores.items()}
        if wanted is not None:
            return result
        assert edges is not None
        flat = np.concatenate([counts, edges], axis=1).reshape(len(counts), -1)

        def statistic(sums: np.ndarray) -> np.ndarray:
            parts = sums.reshape(len(sums), 7, -1)
            return np.stack([*_scores(parts[:, :3], parts[:, 3:]).values()], axis=-1)

        resampled = units(flat, found.rows.get('group'))
        spread = bootstrap_intervals_of_sums(resampled, statistic)
        parts = resampled.reshape(len(resampled), 7, -1)
        labelled, edged = (int(p.any(axis=(1, 2)).sum()) for p in (parts[:, 1:2], parts[:, 3:]))
        spread = [
            interval_at_bound(float(value), edged if name == 'boundary_f1' else labelled)
            or (known and clipped(known))
            for (name, value), known in zip(scores.items(), spread, strict=False)
        ]
        names = check_class_names(class_names, counts.shape[-1])
        each = pixel_metrics.iou(summed), pixel_metrics.dice(summed)
        each = *each, pixel_metrics.boundary_f1(edges.sum(axis=0))
        shares = summed[1] / max(summed[1].sum(), 1)
        support = (counts[:, 1] > 0).sum(axis=0)
        return {
            **result,
            **{f'{name}_interval': each for name, each in zip(scores, spread, strict=False)},
            'pixels': int(summed[1].sum()),
            'per_class': [
                {
                    'name': name,
                    **dict(zip(('iou', 'dice', 'boundary_f1'), map(_number, own), strict=True)),
                    'share': float(shares[c]),
                    'support': int(support[c]),
                }
                for c, (name, *own) in enumerate(zip(names, *each, strict=True))
            ],
            'pixel_confusion': found.sums['confusion'].tolist(),
        }

    def ratio(self, found: Statistics) -> Ratio:
        """The share of pixels that are right."""
        right, label, _ = np.moveaxis(found.rows['pixels'].astype(np.float64), 1, 0)
        metric = next(metric for metric in self.metrics if metric.name == 'pixel_accuracy')
        return Ratio(metric, right.sum(axis=1), label.sum(axis=1))

    def example(self, output: np.ndarray, label: Any, class_names: Sequence[str]) -> dict[str, Any]:
        """How well one image is answered, and the classes that its label has."""
        label = np.asarray(label)
        names = check_class_names(class_names, output.shape[-1])
        matrix = confusion(label, answered(output, label.shape), len(names))
        counts = np.stack([np.diag(matrix), matrix.sum(1), matrix.sum(0)])
        return {
            'labels': [names[c] for c in np.flatnonzero(counts[1])],
            'predicted': [names[c] for c in np.flatnonzero(counts[2])],
            'miou': _number(pixel_metrics.mean(pixel_metrics.iou(counts))),
            'pixel_accuracy': _number(pixel_metrics.pixel_accuracy(counts)),
        }

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted`, the classes there are, and `share:CLASS`, the share of the positions."""
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        names = check_class_names(class_names, outputs.shape[-1])
        shares = class_shares(outputs)
        there = ['|'.join(names[c] for c in np.flatnonzero(row)) for row in shares]
        columns: Columns = {'predicted': there}
        if options.probabilities:
            columns |= {f'share:{name}': shares[:, c] for c, name in enumerate(names)}
        return columns

    def mask(self, output: np.ndarray, size: tuple[int, int]) -> UInt8[np.ndarray, 'rows columns']:
        """The class of each pixel of an image of (height, width)."""
        return answered(output, size).astype(np.uint8)

    def text(self, metrics: MetricValues) -> str:
        """A row a class, and the numbers over the set with their intervals."""
        lines = class_table(metrics, ('iou', 'dice', 'boundary_f1'), ())
        lines += [
            metric_line(metrics, metric.name, f'{metric.label:<15}', '.4f')
            for metric in self.metrics
        ]
        return '\n'.join([*lines, f'{metrics["pixels"]:,} pixels of {metrics["n"]:,} images'])


def _labels(batch: Batch) -> Sequence[np.ndarray]:
    """The masks at their own size, where the batch has them; else at that of the images."""
    return [each.read() for each in batch['masks']] if 'masks' in batch else list(batch['labels'])


def _scores(pixels: np.ndarray, edges: np.ndarray | None) -> dict[str, np.ndarray]:
    """By name, of counts (.., 3, classes) and (.., 4, classes)."""
    found = {
        'miou': pixel_metrics.mean(pixel_metrics.iou(pixels)),
        'dice': pixel_metrics.mean(pixel_metrics.dice(pixels)),
        'pixel_accuracy': pixel_metrics.pixel_accuracy(pixels),
    }
    if edges is not None:
        found['boundary_f1'] = pixel_metrics.mean(pixel_metrics.boundary_f1(edges))
    return found


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
