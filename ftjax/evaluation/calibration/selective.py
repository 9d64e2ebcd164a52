"""Answers that are withheld: accuracy on the share of examples that a network is surest of.

Source: Geifman and El-Yaniv (2017), Selective classification for deep neural networks, arXiv
1705.08500; the excess: Geifman, Uziel and El-Yaniv (2019), arXiv 1805.08206.
"""

from __future__ import annotations

import numpy as np

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coverage, risk), each (n,): the share of errors among the k surest answers, k = 1 .. n.

    Of answers that are equally sure each is as likely to come first: they count by their mean.
    """
    order = np.argsort(-np.asarray(confidence), kind='stable')
    sure, wrong = np.asarray(confidence)[order], 1.0 - np.asarray(correct, np.float64)[order]
    _, group = np.unique(-sure, return_inverse=True)
    wrong = (np.bincount(group, wrong) / np.bincount(group))[group]
    counts = np.arange(1, len(wrong) + 1)
    return counts / len(wrong), np.cumsum(wrong) / counts


def selective_accuracy(confidence: np.ndarray, correct: np.ndarray) -> dict[str, object]:
    """`at`: accuracy and the least confidence at some coverages; `aurc`; `excess_aurc`.

    `aurc` is the mean of the risk over all coverages; `excess_aurc` is how far it lies above that
    of a network with as many errors that is least sure of just these.

    >>> selective_accuracy(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 1, 0]))['aurc']
    0.0625
    """
    coverage, risk = risk_coverage(confidence, correct)
    ideal = np.sort(1 - np.asarray(correct, np.float64))
    best = (np.cumsum(ideal) / np.arange(1, len(ideal) + 1)).mean()
    sure = np.sort(np.asarray(confidence))[::-1]
    rows = []
    for share in COVERAGES:
        at = int(np.clip(np.ceil(share * len(risk) - 1e-9), 1, len(risk))) - 1
        accuracy = float(1 - risk[at])
        rows.append(
            {'coverage': float(coverage[at]), 'accuracy': accuracy, 'confidence': float(sure[at])}
        )
    return {'at': rows, 'aurc': float(risk.mean()), 'excess_aurc': float(risk.mean() - best)}
