"""Probes by L-BFGS against scikit-learn, over the whole path of penalties."""

import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.training.sweeps.linear_probe import PATH, fit_probe


def softmax(logits):
    exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


def made(count, noise=1.5, seed=0):
    """Overlapping classes, features of very different sizes and offsets."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.random.default_rng(9).normal(size=(3, 8))
    x = centres[labels] + noise * draw.normal(size=(count, 8))
    return 10.0 ** np.linspace(-2, 2, 8) * x + 3.0, labels


@pytest.mark.slow
@pytest.mark.parametrize('standardise', [True, False])
def test_probabilities_are_those_of_scikit_learn(standardise):
    from sklearn.linear_model import LogisticRegression

    x, y = made(240)
    held, _ = made(60, seed=1)
    if not standardise:  # L-BFGS, as any method of first order, wants features of like size
        x, held = (x - 3.0) / x.std(axis=0), (held - 3.0) / x.std(axis=0)
    penalties = (1e-4, 1e-2, 1.0, 1e2)
    probe = fit_probe(x, y, 3, penalties=penalties, standardise=standardise, tolerance=1e-6)
    mean, scale = (x.mean(axis=0), x.std(axis=0)) if standardise else (0.0, 1.0)
    for number, c in enumerate(penalties):
        model = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
        model.fit((x - mean) / scale, y)
        want = model.predict_proba((held - mean) / scale)
        np.testing.assert_allclose(softmax(probe.logits(held)[number]), want, atol=1e-3)
    assert probe.kernels.shape == (4, 8, 3) and probe.kernels.dtype == np.float32


@pytest.mark.slow
def test_the_best_penalty_is_chosen_on_validation_data():
    x, y = made(60, noise=3.0)
    held = made(300, noise=3.0, seed=1)
    probe = fit_probe(x, y, 3)
    assert probe.converged.all() and len(PATH) == 17
    norms = np.linalg.norm(probe.kernels * x.std(axis=0)[:, None], axis=(1, 2))
    assert (np.diff(norms) > 0).all()
    accuracies = probe.accuracies(*held)
    assert accuracies[probe.best(*held)] == accuracies.max() > 1 / 3
    by_hand = [(probe.logits(held[0])[p].argmax(1) == held[1]).mean() for p in range(17)]
    np.testing.assert_array_equal(accuracies, by_hand)


@pytest.mark.slow
def test_a_feature_that_never_varies_and_classes_that_part():
    x = np.stack([np.r_[np.zeros(20), np.ones(20)], np.full(40, 7.0)], axis=1)
    probe = fit_probe(x, np.repeat([0, 1], 20), 2, penalties=(1.0, 1e4))
    assert (
        np.isfinite(probe.kernels).all() and (probe.accuracies(x, np.repeat([0, 1], 20)) == 1).all()
    )
    assert np.abs(probe.kernels[:, 1]).max() == 0


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'features': np.full((4, 2), np.nan)}, 'NaN'),
        ({'features': np.zeros((3, 2))}, r'not \(3, 2\) and \(4,\)'),
        ({'labels': np.array([0, 1, 2, 0])}, 'labels 0 to 2'),
        ({'penalties': (1.0, 0.0)}, 'above 0'),
    ],
)
def test_what_cannot_be_probed_is_refused(changes, words):
    given = {'features': np.zeros((4, 2)), 'labels': np.array([0, 1, 0, 1]), 'classes': 2}
    with pytest.raises(UserError, match=words):
        fit_probe(**{**given, **changes})
