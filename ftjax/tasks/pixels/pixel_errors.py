"""What a segmentation says of its errors: the worst images, baselines, figures, masks painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.data.masks.mask_values import NOT_COUNTED
from ftjax.data.masks.palette import colours, painted
from ftjax.evaluation.metric import MetricValues
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.prediction_figures import shares, shares_figure, spread_figure
from ftjax.evaluation.predictions import check_class_names
from ftjax.models.layers.resize import resized_on_host
from ftjax.tasks.error_analysis import Baseline, ErrorAnalysis, Picture
from ftjax.tasks.pixels import pixel_metrics
from ftjax.tasks.statistics import Statistics

_LOOKED_AT = 500
"""Training masks that say which class is the most frequent, at most."""
_BETWEEN = 4
"""White pixels between two pictures."""


class PixelErrors(ErrorAnalysis):
    """The error analysis of a task with a class for each pixel."""

    draws_answers = True

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The images with the lowest mean IoU over the classes that they have or were given."""
        pixels = found.rows['pixels']
        names = check_class_names(class_names, pixels.shape[-1])
        score, right = self._each(found), pixel_metrics.pixel_accuracy(pixels)
        return [
            {
                'id': str(ids[i]),
                'position': int(i),
                'labels': ', '.join(names[c] for c in np.flatnonzero(pixels[i, 1])),
                'predicted': ', '.join(names[c] for c in np.flatnonzero(pixels[i, 2])),
                'miou': float(score[i]),
                'pixel_accuracy': float(right[i]),
            }
            for i in largest(-score, limit, np.flatnonzero(np.isfinite(score)))
        ]

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """Always the class that most pixels of training masks have."""
        tested = np.asarray(found.rows['pixels'], np.float64).sum(axis=0)[1]
        classes = len(tested)
        totals = np.zeros(256, np.int64)
        for each in labels[:_LOOKED_AT]:
            totals += np.bincount(each.read().reshape(-1), minlength=256)
        most = int(totals[:NOT_COUNTED][:classes].argmax())
        always = np.zeros((3, classes))
        always[0, most], always[1], always[2, most] = tested[most], tested, tested.sum()
        name = check_class_names(class_names, classes)[most]
        scores = {
            'miou': float(pixel_metrics.mean(pixel_metrics.iou(always))),
            'dice': float(pixel_metrics.mean(pixel_metrics.dice(always))),
            'pixel_accuracy': float(pixel_metrics.pixel_accuracy(always)),
        }
        return [Baseline(f'always {name!r}', scores)]

    def pictures(
        self, found: Statistics, metrics: MetricValues, class_names: Sequence[str]
    ) -> list[Picture]:
        """The confusion matrix in shares of the true class, and how images differ."""
        made = []
        matrix = np.asarray(found.sums['confusion'], np.float64)
        if 2 <= len(matrix) <= 100:
            names, share = check_class_names(class_names, len(matrix)), shares(matrix)
            few = np.argwhere(share >= 0.005) if len(matrix) <= 20 else ()
            texts = {(row, column): f'{100 * share[row, column]:.0f} %' for row, column in few}
            figure = shares_figure(matrix, names, 'Pixels by true and predicted class', texts)
            made.append(Picture('Pixels of each true class, by the class answered.', figure))
        score = self._each(found)
        score = score[np.isfinite(score)]
        if len(score):
            figure = spread_figure(score, 'mIoU of an image', 'images', 'Images by mIoU')
            said = (
                'The mean IoU of each image over the classes that it has or was given. Their mean '
                'is not the mIoU of the set, which is of pixels counted over all images.'
            )
            made.append(Picture(said, figure))
        return made

    def drawn(
        self, image: np.ndarray, output: np.ndarray, label: Any, palette: Sequence[str]
    ) -> np.ndarray:
        """The image under the mask that is right, and under the one that was answered."""
        of_classes = colours(output.shape[-1], palette)
        size = image.shape[:2]
        answer = resized_on_host(np.asarray(output, np.float32), size).argmax(axis=-1)
        between = np.full((size[0], _BETWEEN, 3), 255, np.uint8)
        both = painted(image, np.asarray(label), of_classes), painted(image, answer, of_classes)
        return np.concatenate([both[0], between, both[1]], axis=1)

    @staticmethod
    def _each(found: Statistics) -> np.ndarray:
        """The mean IoU of each image; NaN of one without a counted pixel."""
        pixels = np.asarray(found.rows['pixels'], np.float64)
        each = pixel_metrics.mean(pixel_metrics.iou(pixels))
        return np.where(pixels[:, 1].sum(axis=-1) > 0, each, np.nan)
