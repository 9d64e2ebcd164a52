"""Baselines without a network: how far the raw inputs alone go."""

from __future__ import annotations

import numpy as np

from ftjax.data.audit.measures.pictures import thumbnails
from ftjax.data.dataset import Dataset

PENALTIES = (0.01, 0.1, 1.0, 10.0)


class PixelRegression:
    """Logistic regression on raw pixels, its penalty chosen by the accuracy on validation data.

    Attributes:
      accuracy: on the validation data.
      penalty: the chosen inverse penalty C of scikit-learn.
    """

    def __init__(self, train: tuple, val: tuple):
        """Fits; `train` and `val` are (inputs, labels), inputs (N, ...) of any number type."""
        from sklearn.linear_model import LogisticRegression

        models = [LogisticRegression(C=c, max_iter=2000) for c in PENALTIES]
        scores = [m.fit(flat(train[0]), train[1]).score(flat(val[0]), val[1]) for m in models]
        best = int(np.argmax(scores))
        self._model, self.accuracy, self.penalty = (
            models[best],
            float(scores[best]),
            PENALTIES[best],
        )

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """Log probabilities (N, classes)."""
        return self._model.predict_log_proba(flat(inputs))


def pixels_of(dataset: Dataset) -> np.ndarray:
    """The images as an array; those in files at 32 x 32 pixels, whatever their aspect ratio."""
    if dataset.kind == 'image':
        return dataset.inputs
    found = thumbnails(dataset, whole=True)
    assert found is not None
    return found


def flat(inputs: np.ndarray) -> np.ndarray:
    """A vector of floats an example."""
    return np.asarray(inputs, np.float32).reshape(len(inputs), -1) / 255
