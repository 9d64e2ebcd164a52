"""Splits and folds against scikit-learn's class counts, and their own promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftjax.data import Dataset, DataSettings, fold, load_data
from ftjax.data.splits.splitting import TEST, hold_out, hold_out_per_class
from ftjax.errors import UserError


def labelled(labels, task='classification'):
    names = () if task == 'regression' else tuple(map(str, range(int(max(labels)) + 1)))
    inputs = [f'text {i}' for i in range(len(labels))]
    return Dataset(
        name='d', kind='text', inputs=inputs, labels=labels, class_names=names, task=task
    )


def counts(data):
    return np.bincount(data.labels, minlength=data.num_classes)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(2, 30), min_size=1, max_size=6), st.floats(0.0, 0.9), st.integers(0, 99)
)
def test_a_split_is_exact_in_size_level_in_classes_and_loses_nothing(sizes, fraction, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    data = labelled(labels)
    count = min(round(len(data) * fraction), len(data) - len(sizes))
    rest, held = hold_out(data, count, seed, TEST)
    assert len(held) == count
    assert sorted([*rest.ids, *held.ids]) == sorted(data.ids)
    assert (counts(rest) >= 1).all()
    share = np.array(sizes) * count / len(data)
    # One more than the rounding where a class may not give its last example.
    assert (np.abs(counts(held) - share) <= 1 + (share > np.array(sizes) - 1).sum()).all()
    assert list(held.ids) == sorted(held.ids)


def test_class_counts_equal_scikit_learns_stratified_split():
    from sklearn.model_selection import train_test_split

    labels = np.repeat(np.arange(5), [100, 50, 25, 13, 7])
    data = labelled(labels)
    for seed in range(5):
        _, held = hold_out(data, 39, seed, TEST)
        _, theirs = train_test_split(labels, test_size=39, stratify=labels, random_state=seed)
        assert np.abs(counts(held) - np.bincount(theirs)).max() <= 1


def test_folds_have_the_class_counts_of_scikit_learns_stratified_k_fold():
    from sklearn.model_selection import StratifiedKFold

    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(4), [40, 23, 11, 5]))
    data = labelled(labels)
    theirs = StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels)
    seen = []
    for i, (train, test) in enumerate(theirs):
        rest, held = fold(data, 5, i, seed=3)
        assert np.abs(counts(held) - np.bincount(labels[test], minlength=4)).max() <= 1
        assert abs(len(rest) - len(train)) <= 1
        assert not set(rest.ids) & set(held.ids)
        seen += list(held.ids)
    assert sorted(seen) == sorted(data.ids)


def test_folds_differ_by_at_most_one_and_by_seed():
    data = labelled(np.repeat(np.arange(3), [7, 8, 9]))
    sizes = [len(fold(data, 5, i)[1]) for i in range(5)]
    assert max(sizes) - min(sizes) <= 1
    assert list(fold(data, 5, 0, 0)[1].ids) == list(fold(data, 5, 0, 0)[1].ids)
    assert list(fold(data, 5, 0, 0)[1].ids) != list(fold(data, 5, 0, 1)[1].ids)


@pytest.mark.parametrize(
    'k, i, words', [(1, 0, 'k >= 2'), (3, 3, '0 to k - 1'), (3, -1, 'fold -1'), (6, 0, "'1' has 5")]
)
def test_impossible_folds_are_refused(k, i, words):
    with pytest.raises(UserError, match=words):
        fold(labelled(np.repeat([0, 1], [9, 5])), k, i)


def test_regression_is_split_and_folded_without_classes():
    data = labelled(np.linspace(0, 1, 20, dtype=np.float32), 'regression')
    rest, held = hold_out(data, 5, 0, TEST)
    assert (len(rest), len(held)) == (15, 5)
    assert sorted(x for i in range(4) for x in fold(data, 4, i)[1].ids) == sorted(data.ids)


def test_a_smaller_few_shot_subset_is_part_of_a_larger_one():
    def subset(k, seed=0):
        loaded = load_data(DataSettings(examples_per_class=k, seed=seed))
        assert (counts(loaded.train) == k).all()
        return loaded

    two, ten, other = subset(2), subset(10), subset(10, seed=1)
    assert set(two.train.ids) < set(ten.train.ids)
    assert set(ten.train.ids) != set(other.train.ids)
    assert two.test.fingerprint == ten.test.fingerprint != other.test.fingerprint
    assert two.val.fingerprint == ten.val.fingerprint
    assert two.fingerprint != ten.fingerprint


def test_val_per_class_is_exact_and_apart_from_training():
    splits = load_data(DataSettings(val_per_class=4))
    assert (counts(splits.val) == 4).all()
    assert len(splits.train) == 1797 - 359 - 40
    parts = [set(part.ids) for part in (splits.train, splits.val, splits.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_test_examples_are_the_same_for_every_seed_where_they_have_a_seed_of_their_own():
    few = {'examples_per_class': 2, 'val_per_class': 3, 'test_per_class': 4, 'test_seed': 0}
    one, other = (load_data(DataSettings(seed=seed, **few)) for seed in (0, 1))
    assert list(one.test.ids) == list(other.test.ids) and (counts(one.test) == 4).all()
    assert set(one.train.ids) != set(other.train.ids)
    for made in (one, other):
        assert (len(made.train), len(made.val)) == (20, 30)
        ids = [set(part.ids) for part in (made.train, made.val, made.test)]
        assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    # Without a seed of its own it is the test split that `seed` decides.
    moved = load_data(DataSettings(seed=1, **{**few, 'test_seed': None}))
    assert set(moved.test.ids) != set(one.test.ids)
    assert list(load_data(DataSettings(**{**few, 'test_seed': None})).test.ids) == list(
        one.test.ids
    )
    with pytest.raises(UserError, match=r'data\.test_per_class and data\.folds'):
        DataSettings(test_per_class=4, folds=3)


def test_shifts_have_the_same_examples_under_other_images_or_labels():
    few = {'examples_per_class': 2, 'val_per_class': 3, 'test_per_class': 4}
    clean, noisy, flipped = (
        load_data(DataSettings(corruption=text, **few))
        for text in ('none', 'gaussian_noise:0.3', 'label_flip')
    )
    for part in ('train', 'val', 'test'):
        a, b, c = (getattr(made, part) for made in (clean, noisy, flipped))
        assert list(a.ids) == list(b.ids) == list(c.ids)
        assert (a.inputs != b.inputs).any() and (a.labels == b.labels).all()
        assert (a.inputs == c.inputs).all() and (a.labels + c.labels == 9).all()
    for text in ('gausian_noise:0.1', 'label_flip:1', 'label_flp'):
        with pytest.raises(UserError, match=r'label_flip|gaussian_noise'):
            DataSettings(corruption=text)


def test_fractions_are_of_all_examples():
    splits = load_data(DataSettings(val_fraction=0.1, test_fraction=0.3))
    assert (len(splits.test), len(splits.val)) == (round(1797 * 0.3), round(1797 * 0.1))
    assert len(splits.train) == 1797 - len(splits.test) - len(splits.val)
    none = load_data(DataSettings(val_fraction=0, test_fraction=0))
    assert (len(none.train), len(none.val), len(none.test)) == (1797, 0, 0)


def test_too_few_examples_name_the_class_and_the_setting():
    data = labelled([0] * 9 + [1] * 2)
    with pytest.raises(UserError, match=r"class '1' has 2 examples.*data\.val_per_class 3"):
        hold_out_per_class(data, 3, 0, TEST, 'data.val_per_class')
    with pytest.raises(UserError, match='cannot hold out 10 of 11'):
        hold_out(data, 10, 0, TEST)
    with pytest.raises(UserError, match='examples_per_class 500'):
        load_data(DataSettings(examples_per_class=500))


def test_folds_as_a_split_hold_every_example_in_one_test_split():
    def of(number, **changes):
        return load_data(DataSettings(folds=5, fold=number, val_fraction=0.1, **changes))

    parts = [of(number) for number in range(5)]
    tests = np.concatenate([part.test.ids for part in parts])
    assert len(tests) == len(set(tests)) == 1797
    per_class = np.stack([counts(part.test) for part in parts])
    assert np.ptp(per_class, axis=0).max() <= 1 and np.ptp([len(p.test) for p in parts]) <= 1
    for part in parts:
        apart = [set(getattr(part, name).ids) for name in ('train', 'val', 'test')]
        assert sum(map(len, apart)) == len(set.union(*apart)) == 1797
        assert np.ptp(counts(part.val)) <= 2
    # Another seed cuts other folds; fewer training examples leave the test split as it is.
    assert set(of(0, seed=1).test.ids) != set(parts[0].test.ids)
    assert list(of(0, examples_per_class=3).test.ids) == list(parts[0].test.ids)
