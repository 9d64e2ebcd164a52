"""Groups: no split, fold or few-shot subset parts them, and intervals resample them."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from sklearn.model_selection import StratifiedGroupKFold

from ftjax.data import Dataset, DataSettings, Splits, load_data
from ftjax.data.audit.findings.groups import group_findings
from ftjax.data.joined import joined
from ftjax.data.splits.grouped_splits import dealt_groups
from ftjax.data.splits.splitting import fold, hold_out, hold_out_per_class
from ftjax.errors import UserError
from ftjax.evaluation.intervals import (
    mean_interval,
    score_interval,
    share_interval,
    wilson_interval,
    wilson_of_share,
)
from ftjax.evaluation.metric import Metric
from ftjax.evaluation.ratio import Ratio
from ftjax.tasks import task_of


def grouped(labels, groups, task='classification', classes=None):
    labels = np.asarray(labels)
    classes = classes or (labels.shape[1] if labels.ndim > 1 else int(labels.max()) + 1)
    return Dataset(
        name='d', kind='text', inputs=[f't{i}' for i in range(len(labels))], labels=labels,
        class_names=() if task == 'regression' else [f'c{i}' for i in range(classes)],
        task=task, groups=[f'g{g}' for g in groups],
    )  # fmt: skip


def parted(one, other):
    return not set(one.groups) & set(other.groups)


@st.composite
def data_with_groups(draw):
    seed, count = draw(st.integers(0, 2**16)), draw(st.integers(30, 120))
    groups, classes = draw(st.integers(8, 25)), draw(st.integers(2, 4))
    rng = np.random.default_rng(seed)
    of = np.concatenate([np.arange(groups), rng.integers(0, groups, count)])
    task = draw(st.sampled_from(('classification', 'multilabel', 'regression')))
    if task == 'classification':
        labels = np.concatenate([np.arange(groups) % classes, rng.integers(0, classes, count)])
    elif task == 'multilabel':
        labels = (rng.random((len(of), classes)) < 0.5).astype(np.float32)
    else:
        labels = rng.normal(size=len(of)).astype(np.float32)
    return grouped(labels, of, task, classes if task != 'regression' else None), seed


@settings(max_examples=40, deadline=None)
@given(data_with_groups(), st.floats(0.1, 0.4))
def test_no_group_crosses_a_split_or_a_fold(drawn, share):
    data, seed = drawn
    count = max(1, round(share * len(data)))
    rest, held = hold_out(data, count, seed, 0)
    assert parted(rest, held) and len(held) and len(rest) + len(held) == len(data)
    largest = max(np.unique(data.groups.astype(str), return_counts=True)[1])
    assert abs(len(held) - count) <= largest + 1
    if data.task == 'classification':
        assert set(rest.labels) == set(data.labels)
    seen = []
    for i in range(4):
        others, mine = fold(data, 4, i, seed)
        assert parted(others, mine) and len(others) + len(mine) == len(data)
        seen += mine.ids.tolist()
    assert sorted(seen) == sorted(data.ids.tolist())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 5), st.integers(6, 30), st.integers(2, 4))
def test_folds_are_those_of_stratified_group_k_fold(seed, folds, groups, classes):
    rng = np.random.default_rng(seed)
    of = np.concatenate([np.arange(groups), rng.integers(0, groups, 10 * groups)])
    labels = np.concatenate([np.arange(groups) % classes, rng.integers(0, classes, 10 * groups)])
    counts = np.zeros((groups, classes))
    np.add.at(counts, (of, labels), 1)
    part = dealt_groups(counts, [1 / folds] * folds)[of]
    reference = StratifiedGroupKFold(folds).split(of, labels, of)
    for i, (_, test) in enumerate(reference):
        np.testing.assert_array_equal(np.flatnonzero(part == i), test)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 4))
def test_few_shot_subsets_come_by_group_and_grow(seed, k):
    of = np.repeat(np.arange(20), 8)
    labels = np.repeat(np.arange(20) % 2, 8)
    data = grouped(labels, of)
    for stream in (1, 3):
        rest, few = hold_out_per_class(data, k, seed, stream, 'x')
        _, more = hold_out_per_class(data, k + 1, seed, stream, 'x')
        assert parted(rest, few) and set(few.ids) <= set(more.ids)
        assert np.bincount(few.labels).tolist() == [k, k]
        assert len(set(few.groups)) == 2  # of one group a class, each of eight


def csv_of(tmp_path, rows, name='d.csv', header='text,label,patient'):
    (tmp_path / name).write_text('\n'.join([header, *rows]) + '\n')
    return f'csv:{tmp_path}/{name}'


def test_a_column_names_groups(tmp_path):
    rows = [f'text {i},{"ab"[i // 6 % 2]},p{i // 6}' for i in range(120)]
    source = csv_of(tmp_path, rows)
    splits = load_data(DataSettings(source=source, group_column='patient'))
    parts = (splits.train, splits.val, splits.test)
    assert all(len(part) for part in parts)
    assert not any(set(a.groups) & set(b.groups) for a in parts for b in parts if a is not b)
    assert all(splits.train.take([3]).groups == splits.train.groups[[3]])
    for test_fold in range(3):
        found = load_data(
            DataSettings(source=source, group_column='patient', folds=3, fold=test_fold)
        )
        assert not set(found.train.groups) & set(found.test.groups)
    plain = load_data(DataSettings(source=source))
    assert set(plain.train.groups) == set() and plain.fingerprint != splits.fingerprint
    with pytest.raises(UserError, match=r"no column 'patent'.*group_column.*'patient'"):
        load_data(DataSettings(source=source, group_column='patent'))
    with pytest.raises(UserError, match=r"1 of 3 examples have an empty 'patient'.*d.csv:3"):
        load_data(
            DataSettings(
                source=csv_of(tmp_path, ['x,a,p', 'y,b,', 'z,a,q']), group_column='patient'
            )
        )


def test_a_pattern_finds_groups_in_file_names(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(60):
        place = tmp_path / 'ab'[i // 5 % 2] / f'patient_{i // 5}_{i % 5}.png'
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
    source, pattern = f'folder:{tmp_path}', r'(?P<group>patient_\d+)_'
    splits = load_data(DataSettings(source=source, group_pattern=pattern))
    assert not set(splits.train.groups) & {*splits.val.groups, *splits.test.groups}
    assert 'patient_3' in {*splits.train.groups, *splits.val.groups, *splits.test.groups}
    few = load_data(DataSettings(source=source, group_pattern=pattern, test_per_class=3))
    assert len(few.test) == 6 and not set(few.train.groups) & set(few.test.groups)
    assert any('the rest of their groups is in the test split' in note for note in few.notes)
    with pytest.raises(UserError, match=r'60 of 60 examples have no match of data\.group_pattern'):
        load_data(DataSettings(source=source, group_pattern='(?P<group>person)'))
    for wrong, told in (('(', 'no regular expression'), ('x', 'names no group')):
        with pytest.raises(UserError, match=told):
            DataSettings(group_pattern=wrong)
    with pytest.raises(UserError, match='both set'):
        DataSettings(group_pattern=pattern, group_column='x')


def test_given_splits_that_share_a_group_are_refused(tmp_path):
    for name, people in (('train', '0123'), ('test', '34')):
        csv_of(
            tmp_path,
            [f'{name} {p} {i},{"ab"[i]},{p}' for p in people for i in (0, 1)],
            f'{name}.csv',
        )
    with pytest.raises(UserError, match=r'1 groups lie in train and in test \(3\)'):
        load_data(DataSettings(source=f'csv:{tmp_path}', group_column='patient', val_fraction=0))
    # What is left out of the training rows is no longer in both.
    index = tmp_path / 'index.csv'
    drop = [f'train,train.csv:{line},drop,' for line in (8, 9)]
    index.write_text('\n'.join(['split,id,action,label', *drop]))
    found = load_data(
        DataSettings(
            source=f'csv:{tmp_path}', group_column='patient', val_fraction=0, exclude=str(index)
        )
    )
    assert {*found.train.groups} == {*'012'} and {*found.test.groups} == {*'34'}


@pytest.mark.parametrize(
    ('given', 'remedy'),
    [
        ((), "data.group_column='patient' keeps groups whole"),
        (('train', 'test'), 'the test split is given: leave their training rows out (data.exclude'),
    ],
)
def test_the_remedy_for_shared_groups_is_one_that_works(given, remedy):
    data = grouped([0, 1] * 20, range(40))
    groups = {name: f'p{i // 4}' for i, name in enumerate(data.ids)}
    splits = Splits(
        train=dataclasses.replace(data, groups=()).take(range(0, 40, 2)),
        val=data.take([]),
        test=data.take(range(1, 40, 2)),
        group_columns={'patient': groups},
        given=given,
    )
    (found,) = group_findings(splits)
    assert remedy in found.message


def test_intervals_resample_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 20)
    right = np.repeat(rng.random(30) < 0.7, 20).astype(int)  # all of a patient, or none
    low, high = share_interval(right, groups)
    alone = share_interval(right)
    assert alone == list(wilson_interval(right.sum(), len(right)))
    # The same as of 30 independent examples, up to the kind of interval.
    few = wilson_interval(right[::20].sum(), 30)
    assert high - low == pytest.approx(few[1] - few[0], rel=0.15)
    assert high - low > 3 * (alone[1] - alone[0])
    values = rng.normal(size=600)
    assert mean_interval(values) == mean_interval(values, None)
    assert share_interval(right, np.zeros(600)) is None


def test_intervals_over_groups_cover_what_they_say():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(200):
        ability = rng.beta(4, 2, 40)
        right = rng.random((40, 10)) < ability[:, None]
        low, high = share_interval(right.reshape(-1), np.repeat(np.arange(40), 10))
        hits += low <= 2 / 3 <= high
    assert 0.88 <= hits / 200 <= 0.99


@pytest.mark.parametrize('number', [2, 3, 5])
def test_intervals_over_few_groups_cover_what_they_say(number):
    """Patients of 30 images, with shares of their own: Beta(8, 2). A bootstrap holds .55 to .85."""
    rng, hits = np.random.default_rng(number), 0
    groups = np.repeat(np.arange(number), 30)
    for _ in range(200):
        right = (rng.random((number, 30)) < rng.beta(8, 2, (number, 1))).ravel()
        low, high = share_interval(right, groups)
        hits += low <= 0.8 <= high
    assert hits / 200 >= 0.91


def test_intervals_over_equal_groups_are_students():
    rng = np.random.default_rng(2)
    values, groups = rng.normal(size=(6, 10)), np.repeat(np.arange(6), 10)
    expected = stats.ttest_1samp(values.mean(1), 0).confidence_interval(0.95)
    found = mean_interval(values.ravel(), groups)
    assert found == pytest.approx([expected.low, expected.high])
    # A share of sums over groups of unequal sizes: linearised, as of `Ratio`.
    keep = rng.random(60) < 0.7
    ratio = Ratio(Metric(name='x'), values.ravel()[keep], np.ones(keep.sum()))
    told = ratio.summed(groups[keep]).interval()
    assert mean_interval(values.ravel()[keep], groups[keep]) == pytest.approx(told)


def test_groups_that_agree_do_not_say_how_others_differ():
    """Three patients with 9 of 10 right each: as of three examples."""
    right, groups = np.tile([1] * 9 + [0], 3), np.repeat(np.arange(3), 10)
    n, z, share = 3, stats.norm.ppf(0.975), 0.9
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    expected = [middle - reach, middle + reach]
    assert share_interval(right, groups) == pytest.approx(expected)
    assert score_interval(np.full(30, 0.9), groups) == pytest.approx(expected)
    ratio = Ratio(Metric(name='x', bounds=(0, 1)), np.full(3, 9.0), np.full(3, 10.0))
    assert ratio.interval() == pytest.approx(expected)
    for count in range(6):
        assert wilson_of_share(count / 5, 5) == pytest.approx(wilson_interval(count, 5))
    near = wilson_of_share(0.4 + 1e-6, 5)  # the formula and scipy's
    assert near == pytest.approx(wilson_interval(2, 5), abs=1e-5)
    assert mean_interval(np.full(30, 2.5), groups) is None


def test_perfect_answers_of_few_groups_are_as_many_right_answers_as_groups():
    """400 images of two patients, all right: two right answers, and an interval with a width."""
    groups, labels = np.repeat(['p', 'q'], 200), np.tile([0, 1], 200)
    logits = np.eye(2)[labels] * 5.0
    found = task_of('classification').measure([(logits, {'labels': labels})], groups=groups)
    for name in ('accuracy', 'sensitivity', 'specificity', 'auroc', 'average_precision'):
        assert found[name] == 1.0
        assert found[f'{name}_interval'] == list(wilson_interval(2, 2)), name
    assert found['sensitivity_at_95_specificity_interval'] == list(wilson_interval(2, 2))
    wrong = task_of('classification').measure([(-logits, {'labels': labels})], groups=groups)
    assert wrong['accuracy_interval'] == wrong['auroc_interval'] == list(wilson_interval(0, 2))
    # Without groups: as many as there are positives.
    alone = task_of('classification').measure([(logits, {'labels': labels})])
    assert alone['average_precision_interval'] == list(wilson_interval(200, 200))


def test_joined_data_have_no_groups():
    first, second = (grouped([0, 1, 0], [0, 1, 2]) for _ in range(2))
    both = joined(first, second)
    assert len(both) == 6 and not len(both.groups)


@pytest.mark.parametrize('task', ['classification', 'multilabel', 'regression'])
def test_every_task_measures_with_groups(task):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(60, 1 if task == 'regression' else 3)).astype(np.float32)
    labels = {
        'classification': rng.integers(0, 3, 60),
        'multilabel': (rng.random((60, 3)) < 0.5).astype(np.float32),
        'regression': rng.normal(size=60).astype(np.float32),
    }[task]
    order = rng.permutation(60)
    batch = {'labels': labels[order], 'index': order, 'mask': np.ones(60, np.float32)}
    groups = np.repeat(np.arange(6), 10).astype(str)
    with_groups = task_of(task).measure([(outputs[order], batch)], groups=groups)
    without = task_of(task).measure([(outputs[order], batch)])
    assert with_groups.pop('groups') == 6
    for name, value in without.items():
        if name.endswith('_interval'):
            assert with_groups[name] != value
        else:
            assert with_groups[name] == value


def test_groups_must_be_one_an_example():
    data = grouped([0, 1, 0], [0, 1, 2])
    with pytest.raises(UserError, match='2 groups for 3 examples'):
        dataclasses.replace(data, groups=['a', 'b'])
    with pytest.raises(UserError, match='3 groups, too few for 4 folds'):
        fold(data, 4, 0)
    with pytest.raises(UserError, match='none can be held out'):
        hold_out(grouped([0, 0, 1, 1], [0, 0, 1, 1]), 1, 0, 0)


def test_the_interval_of_hidden_features_resamples_groups():
    rng = np.random.default_rng(0)
    labels, groups = rng.normal(size=(60, 3)), np.repeat(np.arange(6), 10).astype(str)
    shifts = np.repeat(rng.normal(size=6), 10)[:, None]  # rows of a patient are alike
    batch = {'labels': labels, 'mask': np.ones((60, 3)), 'index': np.arange(60)}
    task = task_of('masked_features')
    low, high = task.measure([(labels + shifts, batch)], groups=groups)['loss_interval']
    alone = task.measure([(labels + shifts, batch)])['loss_interval']
    assert high - low > 2 * (alone[1] - alone[0])


@pytest.mark.parametrize('task', ['embedding', 'token_classification'])
def test_the_seed_draws_the_groups_of_labels_that_are_no_classes(tmp_path, task):
    path = tmp_path / 'd.jsonl'
    rng = np.random.default_rng(0)
    rows = []
    for i in range(200):
        if task == 'embedding':
            row = {'anchor': f'question {i}', 'positive': f'answer {i}'}
        else:
            tags = [str(tag) for tag in rng.choice(['O', 'B-X'], 1 + i % 9)]
            row = {'words': ['w'] * len(tags), 'tags': tags}
        rows.append(json.dumps({**row, 'doc': i // 5}))
    path.write_text('\n'.join(rows))
    asked = DataSettings(source=f'jsonl:{path}', task=task, group_column='doc')
    drawn = {
        tuple(load_data(dataclasses.replace(asked, seed=seed)).test.ids.tolist())
        for seed in range(6)
    }
    assert len(drawn) == 6


def test_every_column_that_names_groups_is_looked_at(tmp_path):
    rows = [f'h{i % 2},s{i},p{i // 6},text {i},{"ab"[i % 2]}' for i in range(120)]
    source = csv_of(tmp_path, rows, header='site,study,patient_id,text,label')
    splits = load_data(DataSettings(source=source))
    assert [*splits.group_columns] == ['site', 'patient_id']  # each row is a study of its own
    (found,) = group_findings(splits)  # two sites are too coarse to say anything
    assert "the column 'patient_id' suggests 20 groups" in found.message
    assert 'in the test split' in found.message


def test_validation_is_looked_at_where_the_test_split_shares_no_group(tmp_path):
    for name, first in (('train', 0), ('test', 100)):
        rows = [f'{name} {i},{"ab"[i % 2]},p{first + i // 4}' for i in range(80)]
        csv_of(tmp_path, rows, f'{name}.csv')
    (found,) = group_findings(load_data(DataSettings(source=f'csv:{tmp_path}')))
    assert 'in the validation split are in training too' in found.message
    assert "data.group_column='patient' keeps groups whole" in found.message
