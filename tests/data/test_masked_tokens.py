"""Masked tokens: which are hidden and how, in one text and in batches."""

import dataclasses
import json

import numpy as np
import pytest

from ftjax.data import DataSettings, TrainStream, eval_batches, load_data
from ftjax.data.text.token_masking import NOT_ASKED, hide_tokens
from ftjax.errors import UserError

ORDINARY = np.arange(5, 1000)
MASK = 4


def hide(ids, special, seed=0, **settings):
    return hide_tokens(ids, special, np.random.default_rng(seed), MASK, ORDINARY, **settings)


def test_rates_are_those_of_the_paper():
    ids = np.random.default_rng(1).integers(5, 1000, 40_000).astype(np.int32)
    shown, labels = hide(ids, np.zeros(len(ids)))
    picked = labels != NOT_ASKED
    assert picked.sum() == 6000  # 15 %, exactly
    np.testing.assert_array_equal(labels[picked], ids[picked])
    np.testing.assert_array_equal(shown[~picked], ids[~picked])
    masked = shown[picked] == MASK
    same = shown[picked] == ids[picked]
    # Three standard deviations of a share of 6,000 draws.
    random = ~masked & ~same
    for which, wanted in ((masked, 0.8), (same, 0.1), (random, 0.1)):
        assert abs(which.mean() - wanted) < 3 * (wanted * (1 - wanted) / 6000) ** 0.5
    others = shown[picked][random]
    assert others.min() >= 5 and len(np.unique(others)) > 300


def test_special_tokens_are_never_picked_nor_shown_instead():
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 40, 60).astype(np.int32)  # ids below 5 are special wherever they stand
    special = np.zeros(60, int)
    special[[0, 30, *range(50, 60)]] = 1
    picked_once = np.zeros(60, bool)
    for seed in range(300):
        shown, labels = hide(ids, special, seed)
        picked = labels != NOT_ASKED
        picked_once |= picked
        assert (shown[picked] >= MASK).all()
    np.testing.assert_array_equal(picked_once, (special == 0) & (ids >= 5))


def test_draws_follow_from_the_seed_and_not_from_the_padding():
    ids = np.arange(10, 42, dtype=np.int32)
    one, other = hide(ids, np.zeros(32)), hide(ids, np.zeros(32), seed=1)
    np.testing.assert_array_equal(one, hide(ids, np.zeros(32)))
    assert not np.array_equal(one[1], other[1])
    longer = np.concatenate([ids, np.zeros(16, np.int32)])
    padded = hide(longer, np.arange(48) >= 32)
    np.testing.assert_array_equal(np.array(padded)[:, :32], one)
    assert (padded[1][32:] == NOT_ASKED).all()


def test_a_short_text_is_asked_for_one_token_and_an_empty_one_for_none():
    _, labels = hide(np.array([2, 7, 3], np.int32), np.array([1, 0, 1]))
    assert labels.tolist() == [NOT_ASKED, 7, NOT_ASKED]
    _, labels = hide(np.array([2, 3], np.int32), np.array([1, 1]))
    assert (labels == NOT_ASKED).all()


@pytest.fixture
def hidden(texts):
    return dataclasses.replace(texts, task='masked_tokens')


def labels_of(batches):
    """Example -> the labels of its real tokens; and how many tokens the masks ask for."""
    found, asked = {}, 0
    for batch in batches:
        asked += batch['mask'].sum()
        for row, index in enumerate(batch['index']):
            real = batch['inputs']['attention_mask'][row] > 0
            assert (batch['labels'][row][~real] == NOT_ASKED).all()
            found[int(index)] = batch['labels'][row][real].tolist()
    return found, asked


def test_evaluation_asks_for_the_same_tokens_in_batches_of_any_size(hidden, bert):
    prep = bert.preprocessing.with_length(64)
    found, asked = labels_of(eval_batches(hidden, 7, None, prep))
    again, as_many = labels_of(eval_batches(hidden, 16, None, prep))
    assert len(hidden) % 7 and len(hidden) % 16  # both end in a batch with padding
    assert found == again and len(found) == len(hidden)
    count = sum(label != NOT_ASKED for labels in found.values() for label in labels)
    assert asked == as_many == count > len(hidden)  # rows of padding ask for nothing


def test_training_asks_for_other_tokens_at_every_step(hidden, bert):
    prep = bert.preprocessing.with_length(64)
    stream, other = (TrainStream(hidden, 8, 0, preprocessing=prep) for _ in range(2))
    np.testing.assert_array_equal(stream.batch(3)['labels'], other.batch(3)['labels'])
    one, later = (stream.loader.batch(np.arange(8), 8, 64, (0, step, ())) for step in (0, 1))
    assert not np.array_equal(one['labels'], later['labels'])
    np.testing.assert_array_equal(one['mask'], (one['labels'] != NOT_ASKED).astype(np.float32))
    asked = one['mask'] > 0
    assert not np.isin(one['labels'][asked], range(5)).any()  # special tokens come first
    mask_id = bert.preprocessing.mask_id
    assert (one['inputs']['input_ids'][asked] == mask_id).sum() > asked.sum() / 2
    assert not (one['inputs']['input_ids'][~asked] == mask_id).any()


def test_a_table_of_texts_needs_no_labels(tmp_path):
    lines = [json.dumps({'text': f'sentence number {i}'}) for i in range(10)]
    (tmp_path / 'd.jsonl').write_text('\n'.join(lines))
    data = load_data(DataSettings(source=f'jsonl:{tmp_path}/d.jsonl', task='masked_tokens'))
    assert len(data.train) + len(data.val) + len(data.test) == 10 and data.num_outputs == 0
    with pytest.raises(UserError, match='expected none'):
        DataSettings(task='masked_tokens', augment='token_mask')


def test_a_tokenizer_without_a_mask_token_is_refused(hidden, bert):
    prep = dataclasses.replace(bert.preprocessing, mask_id=None)
    with pytest.raises(UserError, match='no mask token'):
        TrainStream(hidden, 8, 0, preprocessing=prep).batch(0)
