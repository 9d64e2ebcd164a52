"""Baselines without a network: how far the raw inputs alone go."""

from __future__ import annotations

import numpy as np

PENALTIES = (0.01, 0.1, 1.0, 10.0)


def pixel_regression(train: tuple, val: tuple, test: tuple) -> tuple[np.ndarray, float, float]:
    """Logistic regression on raw pixels, its penalty chosen on validation data.

    Args:
      train, val, test: (inputs, labels); inputs (N, ...) of any number type.

    Returns:
      Log probabilities on the test inputs (N, classes), validation accuracy, and the chosen
      inverse penalty C of scikit-learn.
    """
    from sklearn.linear_model import LogisticRegression

    def flat(inputs):
        return np.asarray(inputs, np.float32).reshape(len(inputs), -1) / 255

    models = [LogisticRegression(C=c, max_iter=2000) for c in PENALTIES]
    scores = [m.fit(flat(train[0]), train[1]).score(flat(val[0]), val[1]) for m in models]
    best = int(np.argmax(scores))
    return models[best].predict_log_proba(flat(test[0])), float(scores[best]), PENALTIES[best]
