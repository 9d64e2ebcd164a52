"""Likely label errors by confident learning, on probabilities of examples that were held out.

Source: C. Northcutt, L. Jiang and I. Chuang (2021), Confident Learning: Estimating Uncertainty in
Dataset Labels, JAIR 70. The code is our own.
"""

from __future__ import annotations

import dataclasses

import numpy as np

FOLDS = 5
WIDEST = 128
"""Features that a head is fitted on; of wider ones the first principal components."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelErrors:
    """What confident learning says of labels."""

    score: np.ndarray
    """(n,) how likely each label is wrong, for ranking: larger is worse."""
    flagged: np.ndarray
    """Positions that are taken for errors, the worst first."""
    suggested: np.ndarray
    """(n,) the class that each example is taken for."""
    joint: np.ndarray
    """(classes, classes) estimated examples, by given and by true label."""


def confident_learning(labels: np.ndarray, probabilities: np.ndarray) -> LabelErrors:
    """Label errors from probabilities (n, classes) of a model that has not seen the example.

    The threshold of a class is the mean probability of it over its own examples. Those that pass
    the threshold of another class are counted by (given, most probable such class): calibrated to
    the number of examples of each given class this is the joint distribution of given and true
    labels. For each pair of classes as many examples are flagged as it says, those of the largest
    margin (prune by noise rate).

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]])
    >>> found = confident_learning(np.array([0, 0, 1, 1, 1]), p)
    >>> found.flagged.tolist(), int(found.suggested[4])
    ([4], 0)
    """
    n, classes = probabilities.shape
    own = probabilities[np.arange(n), labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, own, minlength=classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)
    passed = probabilities >= thresholds
    best = np.where(passed, probabilities, -1).argmax(axis=1)
    sure = passed.any(axis=1)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[sure], best[sure]), 1)
    rows = joint.sum(axis=1, keepdims=True)
    joint = np.where(rows > 0, joint, np.eye(classes))
    joint *= (counts / np.maximum(joint.sum(axis=1), 1))[:, None]
    margins = probabilities - own[:, None]
    flagged = np.zeros(n, bool)
    for given in range(classes):
        mine = np.flatnonzero(labels == given)
        for other in range(classes):
            most = round(joint[given, other])
            if other != given and most:
                worst = mine[np.argsort(-margins[mine, other], kind='stable')[:most]]
                # The model itself must answer otherwise: rounding may ask for one too many.
                flagged[worst[margins[worst, other] > 0]] = True
    score = 1 - own
    order = np.flatnonzero(flagged)
    return LabelErrors(
        score,
        order[np.argsort(-score[order], kind='stable')],
        probabilities.argmax(axis=1),
        joint,
    )


def in_classes_of_several(labels: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Whether the class of each example has two examples or more, or two groups: bool (n,).

    >>> in_classes_of_several(np.array([0, 0, 1])).tolist()
    [True, True, False]
    """
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    pairs = np.unique(np.column_stack([labels, units]), axis=0)
    return np.bincount(pairs[:, 0], minlength=int(labels.max(initial=0)) + 1)[labels] > 1


def held_out_probabilities(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None, seed: int = 0
) -> np.ndarray | None:
    """Probabilities (n, classes) of logistic regressions on frozen features, by cross-validation.

    Args:
      features: (n, d) float32.
      labels: (n,) classes from 0.
      groups: (n,) what each example belongs to: a head has seen none of an example's group.
      seed: of the folds.

    Returns None where a class has fewer examples, or groups, than two.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = int(labels.max()) + 1
    units = np.arange(len(labels)) if groups is None else groups
    fewest = min(len(np.unique(units[labels == label])) for label in np.unique(labels))
    if fewest < 2 or len(np.unique(labels)) < 2:
        return None
    features = narrow(features, seed)
    folds = min(FOLDS, fewest)
    options = {'shuffle': True, 'random_state': seed}
    if groups is None:
        parted = StratifiedKFold(folds, **options).split(features, labels)
    else:
        parted = StratifiedGroupKFold(folds, **options).split(features, labels, groups)
    found = np.zeros((len(labels), classes))
    for seen, held in parted:
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
        head.fit(features[seen], labels[seen])
        found[np.ix_(held, head.classes_)] = head.predict_proba(features[held])
    return found


def narrow(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features (n, d), or their first principal components where there are many."""
    if features.shape[1] <= WIDEST or len(features) <= WIDEST:
        return features
    from sklearn.decomposition import PCA

    return PCA(WIDEST, svd_solver='randomized', random_state=seed).fit_transform(features)
