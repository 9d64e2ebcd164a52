"""Changes of training texts: what each does, that it is seeded, and that only training sees it."""

import numpy as np
import pytest

from ftjax.data import Dataset, DataSettings, TrainStream, augment, eval_batches, parse_augment
from ftjax.data.text.augmentation import (
    augment_text,
    character_noise,
    mask_spans,
    mask_tokens,
    replace_tokens,
    word_deletion,
    word_swap,
)
from ftjax.errors import UserError

TEXT = 'the quick brown fox jumps over the lazy dog'
WORDS = TEXT.split()


def rng(seed=0):
    return np.random.default_rng(seed)


def test_deletion_keeps_the_order_and_never_everything():
    kept = [len(word_deletion(TEXT, rng(i), 0.3).split()) / len(WORDS) for i in range(400)]
    assert np.mean(kept) == pytest.approx(0.7, abs=0.03)
    left = word_deletion(TEXT, rng(), 0.3).split()
    rest = iter(WORDS)
    assert all(word in rest for word in left) and len(left) < len(WORDS)
    ends = {word_deletion(TEXT, rng(i), 1.0) for i in range(60)}
    assert ends == set(WORDS)  # one word stays, any of them
    assert word_deletion(TEXT, rng(), 0.0) == TEXT
    assert word_deletion('alone', rng(), 1.0) == 'alone'


def test_swap_permutes_the_words():
    for i in range(20):
        got = word_swap(TEXT, rng(i), 0.1).split()
        assert sorted(got) == sorted(WORDS)
        # One swap moves two words, or none where both are 'the'.
        assert sum(a != b for a, b in zip(got, WORDS, strict=True)) in (0, 2)
    far = word_swap(TEXT, rng(), 1.0).split()
    assert sum(a != b for a, b in zip(far, WORDS, strict=True)) > 2
    assert word_swap('alone', rng(), 0.5) == 'alone'
    assert word_swap(TEXT, rng(), 0.0) == TEXT


def test_noise_inserts_letters_within_words():
    got = character_noise(TEXT, rng(), 0.3)
    assert len(got.split()) == len(WORDS)
    for noisy, word in zip(got.split(), WORDS, strict=True):
        rest = iter(noisy)
        assert all(letter in rest for letter in word)  # nothing is lost
    letters = len(TEXT.replace(' ', ''))
    added = [len(character_noise(TEXT, rng(i), 0.3)) - len(TEXT) for i in range(300)]
    assert np.mean(added) / letters == pytest.approx(0.3, abs=0.02)
    assert character_noise(TEXT, rng(), 0.0) == TEXT


def test_masking_spares_special_tokens():
    ids, special = np.arange(100, 1100, dtype=np.int32), np.zeros(1000)
    special[[0, 999]] = 1
    got = mask_tokens(ids, special, rng(), 0.15, 4)
    assert got.dtype == np.int32
    assert (got == 4).mean() == pytest.approx(0.15, abs=0.04)
    np.testing.assert_array_equal(got[got != 4], ids[got != 4])
    assert mask_tokens(ids, special, rng(), 1.0, 4)[[0, 999]].tolist() == [100, 1099]
    assert (mask_tokens(ids, special, rng(), 1.0, 4)[1:-1] == 4).all()


def test_the_order_of_names_counts():
    todo = parse_augment('word_swap:1,word_deletion:0.4')
    assert [str(term) for term in todo] == ['word_swap:1', 'word_deletion:0.4']
    one = augment_text(TEXT, rng(5), todo)
    assert one == augment_text(TEXT, rng(5), todo)
    assert one != augment_text(TEXT, rng(5), todo[::-1])
    assert augment_text(TEXT, rng(5), parse_augment('token_mask:1')) == TEXT  # of ids, later


@pytest.fixture(scope='module')
def prep(bert):
    return bert.preprocessing.with_length(64)


ALL = 'word_deletion:0.2,word_swap,character_noise:0.1,token_mask:0.2'


@pytest.mark.parametrize('names', [*ALL.split(','), ALL])
def test_training_batches_change_by_seed_and_step_and_nothing_else(texts, prep, names):
    plain = TrainStream(texts, 16, 0, preprocessing=prep)
    one, two = (TrainStream(texts, 16, 0, None, prep, names) for _ in range(2))
    changed = 0
    for step in (7, 0, 3):
        got, want, before = one.batch(step), two.batch(step), plain.batch(step)
        for key in ('labels', 'index', 'mask'):
            np.testing.assert_array_equal(got[key], before[key])
        for key, array in got['inputs'].items():
            assert array.dtype == np.int32 and array.shape == before['inputs'][key].shape
            np.testing.assert_array_equal(array, want['inputs'][key])
        changed += not np.array_equal(got['inputs']['input_ids'], before['inputs']['input_ids'])
        mask = got['inputs']['attention_mask']
        assert (mask.sum(axis=1) >= 3).all()  # [CLS], a token, [SEP]
        assert (got['inputs']['input_ids'][mask == 0] == prep.pad_id).all()
    assert changed == 3
    # The same example draws anew in another epoch.
    steps = one.steps_per_epoch
    rows = {}
    for step in range(2 * steps):
        batch = one.batch(step)
        for index, ids in zip(batch['index'], batch['inputs']['input_ids'], strict=True):
            rows.setdefault(int(index), []).append(ids[ids != prep.pad_id].tolist())
    twice = [pair for pair in rows.values() if len(pair) == 2]
    assert sum(a != b for a, b in twice) > len(twice) / 3


def test_what_noise_makes_too_long_is_cut_before_the_separator(prep):
    texts = ['message ' * 60] * 4
    data = Dataset(name='d', kind='text', inputs=texts, labels=[0] * 4, class_names='x')
    batch = TrainStream(data, 4, 0, None, prep, 'character_noise:0.5').batch(0)
    ids = batch['inputs']['input_ids']
    assert ids.shape == (4, 64)
    sep = prep.open().token_to_id('[SEP]')
    assert (ids[:, -1] == sep).all()


def test_spans_are_masked_until_the_share_is_reached_and_end_at_special_tokens():
    ids, special = np.arange(100, 160, dtype=np.int32), np.zeros(60, int)
    special[[0, 30, 59]] = 1
    runs = []
    for seed in range(200):
        got = mask_spans(ids, special, rng(seed), 0.3, 3.0, 7)
        hit = got == 7
        assert hit.sum() == round(0.3 * 57) and not hit[special == 1].any()
        np.testing.assert_array_equal(got[~hit], ids[~hit])
        edges = np.flatnonzero(np.diff(np.r_[0, hit, 0].astype(int)))
        runs += (edges[1::2] - edges[::2]).tolist()
    assert 2.3 < np.mean(runs) < 4.5 and max(runs) > 5  # neighbours join, the last is cut short
    assert (mask_spans(ids, special, rng(), 0.0, 3.0, 7) == ids).all()
    assert (mask_spans(ids, np.ones(60), rng(), 0.5, 3.0, 7) == ids).all()


def test_replaced_tokens_are_of_the_same_text():
    ids, special = np.arange(100, 150, dtype=np.int32), np.zeros(50, int)
    special[[0, 49]] = 1
    shares = []
    for seed in range(200):
        got = replace_tokens(ids, special, rng(seed), 0.2, 7)
        assert set(got[1:-1]) <= set(ids[1:-1]) and got[0] == 100 and got[-1] == 149
        shares.append((got != ids).sum() / 48)
    assert np.mean(shares) == pytest.approx(
        0.2 * 47 / 48, abs=0.01
    )  # some are replaced by themselves


@pytest.mark.parametrize(
    'augmentation', ['word_deletion:0.5', 'span_mask:0.5', 'token_replace:0.5', 'token_mask:0.5']
)
def test_both_texts_of_a_pair_are_changed(prep, augmentation):
    pairs = [('value name', 'return the message object')] * 8
    data = Dataset(name='d', kind='text', inputs=pairs, labels=[0] * 8, class_names='x')
    batch = TrainStream(data, 8, 0, None, prep, augmentation).batch(0)
    types = batch['inputs']['token_type_ids']
    for kind in (0, 1):
        ids = [
            row[t == kind].tolist()
            for row, t in zip(batch['inputs']['input_ids'], types, strict=True)
        ]
        assert len({tuple(row) for row in ids}) > 1


def test_evaluation_never_changes_a_text(texts, prep):
    assert 'augment' not in ' '.join(eval_batches.__code__.co_varnames)
    (one,), (two,) = (eval_batches(texts.take(range(4)), 4, None, prep) for _ in range(2))
    np.testing.assert_array_equal(one['inputs']['input_ids'], two['inputs']['input_ids'])


def test_names_are_checked(bert, texts, prep):
    import dataclasses

    import jax
    import jax.numpy as jnp

    assert DataSettings(augment='word_swap:0.2,token_mask').augment == 'word_swap:0.2,token_mask'
    with pytest.raises(UserError, match="did you mean 'word_swap'"):
        DataSettings(augment='word_swp')
    with pytest.raises(UserError, match='probability is 2; expected a number, at least 0'):
        DataSettings(augment='token_mask:2')
    with pytest.raises(UserError, match="'flip' is for images; for texts there are word_deletion"):
        TrainStream(texts, 4, 0, None, prep, 'flip')
    with pytest.raises(UserError, match=r"'word_swap' is for texts; for images there are .*flip"):
        augment(jnp.ones((1, 4, 4, 1)), jax.random.key(0), 'word_swap')
    without = dataclasses.replace(prep, mask_id=None)
    with pytest.raises(UserError, match='no mask token'):
        TrainStream(texts, 4, 0, None, without, 'token_mask')
