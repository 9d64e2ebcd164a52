"""Segmentation: loss and metrics against numbers worked out by hand, scikit-learn and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.data.masks.mask import MaskPixels, masks
from ftjax.errors import UserError
from ftjax.evaluation.intervals import bootstrap_interval, wilson_interval
from ftjax.evaluation.sliding import stitched, window_batches
from ftjax.tasks.pixels import pixel_metrics
from ftjax.tasks.pixels.pixel_counts import boundary, boundary_counts, confusion, tolerance
from ftjax.tasks.registry import task_of
from ftjax.tasks.statistics import grouped
from ftjax.tasks.task import PLAIN, LossOptions

TASK = task_of('segmentation')
# One row of three pixels: right, wrong, and not counted.
LABEL = np.array([[0, 1, 255]], np.uint8)
LOGITS = np.array([[[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]], np.float32)


def batch_of(labels, **more):
    labels = np.asarray(labels, np.uint8)
    return {'labels': labels, 'mask': np.ones(len(labels), np.float32), **more}


def hot(answers, classes):
    """Outputs that answer these classes."""
    return np.eye(classes, dtype=np.float32)[np.asarray(answers)] * 5


def test_three_pixels_by_hand_loss():
    batch = batch_of(LABEL[None])
    losses = np.asarray(TASK.losses(LOGITS[None], batch, PLAIN))
    expected = [np.log(1 + np.exp(-2)), np.log(1 + np.e)]
    np.testing.assert_allclose(losses[0, 0, :2], expected, rtol=1e-6)
    assert np.asarray(TASK.weights(batch)).tolist() == [[[1, 1, 0]]]
    total, weight = TASK.loss(LOGITS[None], batch)
    assert float(weight) == 2 and float(total) == pytest.approx(sum(expected), rel=1e-6)
    smooth = LossOptions(label_smoothing=0.1)
    total, _ = TASK.loss(LOGITS[None], batch, smooth)
    # A smoothed target has 0.95 of its class and 0.05 of the other.
    two = 0.95 * expected[0] + 0.05 * np.log(1 + np.exp(2))
    two += 0.95 * expected[1] + 0.05 * np.log(1 + np.exp(-1))
    assert float(total) == pytest.approx(two, rel=1e-6)


def test_three_pixels_by_hand_metrics():
    found = TASK.measure([(LOGITS[None], batch_of(LABEL[None]))], ('a', 'b'))
    assert found['pixel_confusion'] == [[1, 0], [1, 0]]
    assert found['miou'] == pytest.approx((1 / 2 + 0) / 2)
    assert found['dice'] == pytest.approx((2 / 3 + 0) / 2)
    assert found['pixel_accuracy'] == 1 / 2 and found['pixels'] == 2
    # The label has a boundary between its first two pixels, the answer has none.
    assert found['boundary_f1'] == 0
    assert found['per_class'][0] == {
        'name': 'a',
        'iou': 0.5,
        'dice': pytest.approx(2 / 3),
        'boundary_f1': 0.0,
        'share': 0.5,
        'support': 1,
    }
    assert found['n'] == 1 and 'miou_interval' not in found  # of one image there is none


def test_boundaries_by_hand():
    label, answer = np.array([[0, 1, 1]]), np.array([[0, 0, 1]])
    counted = np.ones((1, 3), bool)
    assert boundary(label, counted).tolist() == [[True, True, False]]
    assert boundary(label, np.array([[True, False, True]])).tolist() == [[False] * 3]
    # Each boundary pixel of the answer is one pixel from that of the label: near.
    assert boundary_counts(label, answer, 2).tolist() == [[1, 1]] * 4
    far = np.zeros((1, 6), int), np.array([[0, 0, 0, 0, 1, 1]])
    assert boundary_counts(*far, 2).tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
    counts = boundary_counts(np.array([[0, 1, 1, 1, 1, 0]]), np.array([[0, 0, 0, 1, 1, 0]]), 2)
    # Of class 0 the answer's pixels 2 and 5 are edges, the label's 0 and 5: one of two is near.
    # Of class 1 they are 3 and 4, and 1 and 4: 3 is near 4, and 1 is near neither.
    assert counts.tolist() == [[1, 2], [2, 2], [1, 1], [2, 2]]
    precision, recall = np.array([1 / 2, 1]), np.array([1 / 2, 1 / 2])
    expected = 2 * precision * recall / (precision + recall)
    np.testing.assert_allclose(pixel_metrics.boundary_f1(counts), expected)
    assert tolerance((1000, 1000)) == 11 and tolerance((2, 2)) == 1


def test_a_class_in_neither_labels_nor_answers_is_left_out_of_means():
    labels = [[[0, 0, 1, 255]]]
    found = TASK.measure([(hot([[[0, 1, 1, 2]]], 4), batch_of(labels))])
    # Class 2 is answered where nothing is counted, class 3 nowhere: both are left out.
    assert found['miou'] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert [row['iou'] for row in found['per_class']] == [0.5, 0.5, None, None]
    wrong = TASK.measure([(hot([[[0, 2, 1, 1]]], 4), batch_of(labels))])
    assert wrong['miou'] == pytest.approx((1 / 2 + 1 + 0) / 3)
    nothing = TASK.measure([(hot([[[0]]], 2), batch_of([[[255]]]))])
    assert nothing['miou'] is None and nothing['pixel_accuracy'] is None


def test_metrics_are_those_of_the_set_and_equal_to_scikit_learns():
    import sklearn.metrics

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 7, 5)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    answers = np.where(
        rng.random(labels.shape) < 0.6, labels % 255 % 4, rng.integers(0, 4, labels.shape)
    )
    pairs = [
        (hot(answers[at], 4), batch_of(labels[at], index=np.arange(6)[at]))
        for at in (slice(0, 4), slice(4, 6))
    ]
    found = TASK.measure(pairs)
    counted = labels != 255
    true, said = labels[counted], answers[counted]
    np.testing.assert_array_equal(
        found['pixel_confusion'], sklearn.metrics.confusion_matrix(true, said)
    )
    known = sklearn.metrics
    assert found['miou'] == pytest.approx(known.jaccard_score(true, said, average='macro'))
    assert found['dice'] == pytest.approx(known.f1_score(true, said, average='macro'))
    assert found['pixel_accuracy'] == pytest.approx(known.accuracy_score(true, said))
    each = [
        known.jaccard_score(t[c], s[c], average='macro', zero_division=0)
        for t, s, c in zip(labels, answers, counted, strict=True)
    ]
    assert found['miou'] != pytest.approx(np.mean(each), abs=1e-3)  # it is no mean over images


def test_metrics_are_of_the_masks_own_size():
    own = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], np.uint8)
    logits = hot([[0, 1]], 2)[None]  # one row of two positions, brought to 2 x 4 pixels
    batch = batch_of([[[0, 1]]], masks=masks([MaskPixels(own)]), index=np.array([0]))
    found = TASK.measure([(logits, batch)])
    assert found['pixels'] == 8 and found['miou'] == 1
    assert TASK.mask(logits[0], (2, 4)).tolist() == own.tolist()


def test_padding_is_left_out_and_examples_come_in_the_splits_order():
    labels = np.array([[[0]], [[1]], [[1]], [[1]]], np.uint8)
    outputs = hot([[[0]], [[0]], [[1]], [[0]]], 2)
    batch = {
        'labels': labels,
        'masks': masks([MaskPixels(each) for each in labels]),
        'mask': np.array([1, 1, 1, 0], np.float32),
        'index': np.array([2, 0, 1, 2]),
    }
    found = TASK.collected([(outputs, batch)])
    assert found.rows['pixels'][:, 0].tolist() == [[0, 0], [0, 1], [1, 0]]
    assert found.sums['confusion'].tolist() == [[1, 0], [1, 1]]


def test_perfect_masks_of_few_images_have_an_interval():
    labels = np.array([[[0, 1]], [[1, 0]], [[255, 255]]], np.uint8)  # the last has no part in it
    answers = np.where(labels == 255, 0, labels)
    found = TASK.measure([(hot(answers, 2), batch_of(labels))])
    for name in ('miou', 'dice', 'pixel_accuracy', 'boundary_f1'):
        assert found[name] == 1 and found[f'{name}_interval'] == [*wilson_interval(2, 2)]


def test_intervals_resample_images_and_groups_of_them():
    rng = np.random.default_rng(0)
    right = np.repeat([0.95, 0.4], 12)[:, None, None]
    labels = rng.integers(0, 2, (24, 8, 8)).astype(np.uint8)
    answers = np.where(rng.random(labels.shape) < right, labels, 1 - labels)
    pairs = [(hot(answers, 2), batch_of(labels))]
    found = TASK.measure(pairs)
    low, high = found['pixel_accuracy_interval']
    assert low < found['pixel_accuracy'] < high and high - low > 0.2  # of pixels it would be 0.06
    rows = TASK.collected(pairs)
    right, counted = rows.rows['pixels'][:, 0].sum(axis=1), rows.rows['pixels'][:, 1].sum(axis=1)
    one_by_one = bootstrap_interval(
        np.stack([right, counted], axis=1), lambda drawn: drawn[:, 0].sum() / drawn[:, 1].sum()
    )
    assert found['pixel_accuracy_interval'] == pytest.approx(one_by_one, rel=1e-12)
    apart = TASK.measured(grouped(rows, [*(12 * 'a'), *(12 * 'b')]))
    # Two groups of .95 and .4: Student's t with one degree of freedom says nothing.
    assert apart['pixel_accuracy_interval'] == [0.0, 1.0]
    assert apart['groups'] == 2 and apart['miou'] == found['miou']


def test_validation_gives_the_loss_and_what_is_noted():
    batch = batch_of(LABEL[None])
    values = TASK.validate([(LOGITS[None], batch)])
    expected = (np.log(1 + np.exp(-2)) + np.log(1 + np.e)) / 2
    assert values['loss'] == pytest.approx(expected, rel=1e-6)
    assert values['miou'] == values['score'] == 0.25 and values['pixel_accuracy'] == 0.5


def test_what_is_said_of_errors():
    labels = np.array([[[0, 0, 1]], [[1, 1, 255]]], np.uint8)
    outputs = hot([[[0, 0, 0]], [[1, 1, 1]]], 2)
    found = TASK.collected([(outputs, batch_of(labels))])
    metrics = TASK.measured(found, ('sky', 'sea'))
    first = TASK.mistakes(found, ['x', 'y'], ('sky', 'sea'))[0]
    assert first['id'] == 'x' and first['labels'] == 'sky, sea' and first['predicted'] == 'sky'
    assert first['miou'] == pytest.approx((2 / 3 + 0) / 2)
    train = masks([MaskPixels(np.array([[1, 1, 0]], np.uint8))])
    (always,) = TASK.baselines(train, found, ('sky', 'sea'), metrics)
    assert always.name == "always 'sea'"
    assert always.metrics['pixel_accuracy'] == pytest.approx(3 / 5)
    assert always.metrics['miou'] == pytest.approx((3 / 5 + 0) / 2)
    assert 'sea' in TASK.text(metrics) and 'pixels of 2 images' in TASK.text(metrics)
    told = TASK.example(outputs[0], labels[0], ('sky', 'sea'))
    assert told['miou'] == first['miou'] and told['labels'] == ['sky', 'sea']
    columns = TASK.answers(outputs, ('sky', 'sea'))
    assert columns['predicted'] == ['sky', 'sea'] and columns['share:sea'].tolist() == [0, 1]
    drawn = TASK.drawn(np.zeros((1, 3, 1), np.uint8), outputs[0], labels[0], ())
    assert drawn.shape == (1, 10, 3)
    assert len(TASK.pictures(found, metrics, ('sky', 'sea'))) == 2


def test_of_many_classes_the_worst_are_listed():
    names = [f'class {i:02d}' for i in range(60)]
    labels = np.arange(60, dtype=np.uint8)[None, None] % 59  # the last occurs nowhere
    answered = labels.copy()
    answered[0, 0, 7] = 8
    text = TASK.text(TASK.measured(TASK.collected([(hot(answered, 60), batch_of(labels))]), names))
    rows = text.splitlines()
    assert rows[0] == 'the 50 of 60 classes with the lowest IoU'
    assert rows[2].split()[:2] == ['class', '07'] and 'class 59' not in text


def test_outputs_of_another_shape_are_refused():
    with pytest.raises(UserError, match='outputs need shape'):
        TASK.measure([(np.zeros((1, 2), np.float32), batch_of([[[0]]]))])


def test_counts_of_batches_add_up():
    rng = np.random.default_rng(1)
    labels, answers = rng.integers(0, 3, (2, 4, 5, 5))
    whole = sum(
        confusion(one.astype(np.uint8), two, 3) for one, two in zip(labels, answers, strict=True)
    )
    found = TASK.collected([(hot(answers, 3), batch_of(labels))])
    np.testing.assert_array_equal(found.sums['confusion'], whole)
    np.testing.assert_array_equal(found.rows['pixels'].sum(axis=0)[1], whole.sum(axis=1))


@pytest.mark.torch
@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_loss_and_gradient_are_those_of_torch(smoothing):
    import torch

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5, 6)).astype(np.float32)
    labels = rng.integers(0, 6, (3, 13, 17)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.2] = 255
    options = LossOptions(label_smoothing=smoothing)

    def ours(logits):
        total, weight = TASK.loss(logits, batch_of(labels), options)
        return total / weight

    loss, gradient = jax.value_and_grad(ours)(jnp.asarray(logits))
    given = torch.tensor(logits, requires_grad=True)
    large = torch.nn.functional.interpolate(
        given.permute(0, 3, 1, 2), size=labels.shape[1:], mode='bilinear', align_corners=False
    )
    expected = torch.nn.functional.cross_entropy(
        large, torch.tensor(labels.astype(np.int64)), ignore_index=255, label_smoothing=smoothing
    )
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, given.grad.numpy(), atol=1e-6)


def test_windows_are_put_together_and_averaged_where_they_overlap():
    images = [np.arange(12, dtype=np.uint8).reshape(2, 6, 1), np.zeros((1, 3, 1), np.uint8)]
    batches = list(window_batches(iter(images), (2, 4), 0.5, 2))
    assert [batch['mask'].tolist() for batch in batches] == [[1, 1], [1, 0]]
    assert batches[0]['corner'].tolist() == [[0, 0], [0, 2]]

    def run():
        for number, batch in enumerate(batches):
            # The first window answers 1 and 0 everywhere, the second 0 and 4.
            outputs = np.zeros((2, 1, 2, 2), np.float32)
            outputs[0, ..., 0], outputs[1, ..., 1] = 1, 4 * (1 - number)
            yield outputs, batch

    (first, large), (second, small) = stitched(run(), (2, 4))
    assert (first, second) == (0, 1) and large.shape == (2, 6, 2) and small.shape == (1, 3, 2)
    assert large[0, :, 0].tolist() == [1, 1, 0.5, 0.5, 0, 0]
    assert large[1, :, 1].tolist() == [0, 0, 2, 2, 4, 4]
    assert small[..., 0].tolist() == [[1, 1, 1]]
