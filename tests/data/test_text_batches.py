"""Texts through the whole data path: tokens, buckets, order, masks, and the same logits."""

import itertools

import jax
import numpy as np
import pytest

from ftjax.data import (
    Dataset,
    DataSettings,
    TrainStream,
    eval_batches,
    matching_preprocessing,
    stacked,
)
from ftjax.data.text.bucket_order import bucket_order
from ftjax.data.text.tokenize import tokenize
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.models.registry import build
from ftjax.preprocessing.texts import TextPreprocessing, text_preprocessing
from ftjax.pretrained.initialise import random_variables


@pytest.fixture(scope='module')
def prep(bert):
    return bert.preprocessing.with_length(64)


def rows_of(batch):
    """The tokens of each row, without the padding."""
    real = batch['inputs']['attention_mask'].astype(bool)
    return [
        ids[mask].tolist() for ids, mask in zip(batch['inputs']['input_ids'], real, strict=True)
    ]


def same(one, two):
    leaves, structure = jax.tree.flatten(one)
    others, other = jax.tree.flatten(two)
    assert structure == other
    for a, b in zip(leaves, others, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_tokens_are_those_of_the_tokenizer_whatever_its_file_says_of_length(bert, sentences):
    got = tokenize(sentences, bert.preprocessing)
    from tokenizers import Tokenizer

    plain = Tokenizer.from_file(bert.preprocessing.tokenizer)
    assert len(plain.encode(sentences[-1]).ids) == 128  # the file pads to 128 and cuts at 6
    plain.no_padding()
    plain.no_truncation()
    for i, text in enumerate(sentences):
        want = plain.encode(text)
        part = slice(got.starts[i], got.starts[i + 1])
        assert got.ids[part].tolist() == want.ids
        assert got.special[part].tolist() == want.special_tokens_mask
    assert got.ids.dtype == np.int32 and got.lengths.max() > 40


def bucket(prep, length):
    return min(size for size in prep.buckets if size >= length)


def test_batches_are_padded_on_the_right_to_the_smallest_bucket_that_holds_them(texts, prep):
    lengths = np.minimum(tokenize(texts.inputs, prep).lengths, 64)
    seen = set()
    for batch in eval_batches(texts, 8, preprocessing=prep):
        inputs = batch['inputs']
        assert set(inputs) == {'input_ids', 'attention_mask', 'token_type_ids'}
        assert {(a.dtype.name, a.shape) for a in inputs.values()} == {
            ('int32', inputs['input_ids'].shape)
        }
        longest = lengths[batch['index']].max()
        assert inputs['input_ids'].shape == (8, bucket(prep, longest))
        mask = inputs['attention_mask']
        np.testing.assert_array_equal(mask.sum(axis=1), lengths[batch['index']])
        assert (np.diff(mask, axis=1) <= 0).all()  # real tokens first
        assert (inputs['input_ids'][mask == 0] == prep.pad_id).all()
        seen.add(inputs['input_ids'].shape[1])
    assert seen == {16, 32, 64}


def test_a_pair_has_types_and_keeps_its_separators_when_it_is_cut(prep):
    long = ' '.join(['message'] * 80)
    data = Dataset(
        name='p',
        kind='text',
        inputs=[('the name', 'a value'), (long, 'a value'), ('the name', long)],
        labels=[0, 1, 0],
        class_names='xy',
    )
    (batch,) = eval_batches(data, 3, preprocessing=prep)
    rows = np.argsort(batch['index'])
    ids = batch['inputs']['input_ids'][rows]
    types = batch['inputs']['token_type_ids'][rows]
    lengths = batch['inputs']['attention_mask'][rows].sum(axis=1)
    assert lengths.tolist()[1:] == [64, 64]
    sep = prep.open().token_to_id('[SEP]')
    for row, length in zip(range(3), lengths, strict=True):
        where = np.flatnonzero(ids[row] == sep)
        assert len(where) == 2 and where[1] == length - 1
        assert types[row, : where[0] + 1].max() == 0
        assert types[row, where[0] + 1 : length].min() == 1
        assert types[row, length:].sum() == 0
    # The longer text of the two gives way: the short one is whole.
    short = prep.open().encode('a value', add_special_tokens=False).ids
    assert ids[1, 63 - len(short) : 63].tolist() == short


def test_the_settings_maximum_cuts_further(bert, texts):
    import dataclasses

    data = dataclasses.replace(texts, max_length=12)
    shapes = {
        b['inputs']['input_ids'].shape for b in eval_batches(data, 4, None, bert.preprocessing)
    }
    assert shapes == {(4, 12)}


def test_a_batch_is_a_pure_function_of_seed_and_step(texts, prep):
    one, two = (TrainStream(texts, 8, 3, preprocessing=prep) for _ in range(2))
    later = {step: two.batch(step) for step in (40, 2, 17)}
    for step, batch in later.items():
        same(one.batch(step), batch)
    for step, batch in enumerate(itertools.islice(one.iterate(5), 20), 5):
        same(batch, two.batch(step))
    other = TrainStream(texts, 8, 4, preprocessing=prep)
    assert not np.array_equal(one.batch(0)['index'], other.batch(0)['index'])
    with pytest.raises(ValueError, match='read-only'):
        texts.inputs[0] = 'x'


@pytest.mark.parametrize('run', [1, 3])
def test_an_epoch_sees_each_text_at_most_once_in_few_shapes(texts, prep, run):
    stream = TrainStream(texts, 8, 0, preprocessing=prep).in_runs(run)
    steps = stream.steps_per_epoch
    assert steps == len(texts) // 8
    left = []
    for epoch in range(3):
        batches = [stream.batch(epoch * steps + i) for i in range(steps)]
        index = np.concatenate([batch['index'] for batch in batches])
        assert len(np.unique(index)) == len(index) == steps * 8
        shapes = [batch['inputs']['input_ids'].shape for batch in batches]
        assert set(shapes) <= {(8, 16), (8, 32), (8, 64)}
        for first in range(0, steps // run * run, run):
            assert len(set(shapes[first : first + run])) == 1
        for batch in batches:
            np.testing.assert_array_equal(batch['labels'], texts.labels[batch['index']])
            assert batch['mask'].tolist() == [1] * 8
        left.append(set(range(len(texts))) - set(index.tolist()))
    assert left[0] != left[1]  # not always the longest are left out


def test_processes_share_batches_of_texts_and_others_go_on(texts, prep):
    whole = TrainStream(texts, 8, 0, preprocessing=prep).in_runs(3)
    for step, processes in ((0, 4), (1, 2), (whole.steps_per_epoch, 1)):
        expected = whole.batch(step)
        rows = np.array_split(np.arange(8), processes)
        found = [whole.shared(own).batch(step) for own in rows]
        for name in expected['inputs']:
            together = np.concatenate([batch['inputs'][name] for batch in found])
            np.testing.assert_array_equal(together, expected['inputs'][name], err_msg=name)


def test_length_order_pads_less_than_a_plain_permutation(texts, prep):
    stream = TrainStream(texts, 8, 0, preprocessing=prep)
    sorted_ = sum(
        stream.batch(i)['inputs']['input_ids'].size for i in range(stream.steps_per_epoch)
    )
    lengths = np.minimum(tokenize(texts.inputs, prep).lengths, 64)
    order = np.random.default_rng((0, 0)).permutation(len(texts))
    plain = [
        bucket(prep, lengths[order[i * 8 : i * 8 + 8]].max()) * 8 for i in range(len(texts) // 8)
    ]
    assert sorted_ < 0.8 * sum(plain)


def test_the_order_of_lengths_loses_nothing():
    rng = np.random.default_rng(0)
    for count, size, run in ((40, 4, 1), (36, 4, 2), (12, 6, 5), (7, 7, 1)):
        buckets = rng.choice([16, 32, 64], count)
        order = rng.permutation(count)
        got = bucket_order(order, buckets, size, run, np.random.default_rng(1))
        assert sorted(got) == sorted(order)
        again = bucket_order(order, buckets, size, run, np.random.default_rng(1))
        np.testing.assert_array_equal(got, again)


def test_batches_of_a_run_stack_and_others_are_padded_first(texts, prep):
    stream = TrainStream(texts, 8, 0, preprocessing=prep).in_runs(3)
    group = [stream.batch(i) for i in range(3)]
    got = stacked(group, prep)
    same(jax.tree.map(lambda x: x[1], got), group[1])
    batches = list(eval_batches(texts, 8, preprocessing=prep))
    ends = [batches[0], batches[-1]]
    got = stacked(ends, prep)
    assert got['inputs']['input_ids'].shape == (2, 8, 64)
    assert (got['inputs']['input_ids'][0, :, 16:] == prep.pad_id).all()
    assert got['inputs']['attention_mask'][0, :, 16:].sum() == 0
    np.testing.assert_array_equal(got['labels'], [b['labels'] for b in ends])
    # Sixteen labels an example are none of sixteen tokens.
    several = [{**end, 'labels': np.ones((8, 16)), 'mask': np.ones(8)} for end in ends]
    assert stacked(several, prep)['labels'].shape == (2, 8, 16)
    images = [{'inputs': np.ones((2, 3)), 'mask': np.ones(2)}] * 2
    assert stacked(images)['inputs'].shape == (2, 2, 3)


def test_a_set_smaller_than_a_batch_and_an_empty_one(texts, prep):
    stream = TrainStream(texts.take(range(3)), 8, 0, preprocessing=prep)
    assert np.bincount(stream.batch(5)['index']).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])
    assert list(eval_batches(texts.take([]), 4, preprocessing=prep)) == []


def by_index(pairs):
    """Outputs and labels in the order of the split, padding left out; each example comes once."""
    rows = [
        (batch['index'][n], outputs[n], batch['labels'][n])
        for outputs, batch in pairs
        for n in np.flatnonzero(batch.get('mask', np.ones(len(outputs))))
    ]
    rows.sort(key=lambda row: row[0])
    assert [row[0] for row in rows] == list(range(len(rows)))
    return np.stack([row[1] for row in rows]), np.stack([row[2] for row in rows])


def test_evaluation_sees_every_text_once_and_says_which_it_is(texts, prep):
    batches = eval_batches(texts, 50, preprocessing=prep)
    for _ in range(2):
        got = list(batches)
        assert len(got) == len(batches)
        index, labels = by_index((batch['index'], batch) for batch in got)
        np.testing.assert_array_equal(index, np.arange(len(texts)))
        np.testing.assert_array_equal(labels, texts.labels)


SIZES = {'vocab_size': 500, 'width': 16, 'depth': 2, 'heads': 2, 'num_classes': 3}


@pytest.mark.parametrize(
    'name, options',
    [
        ('bert', {'mlp_dim': 32}),
        ('gpt2', {}),
        pytest.param('roberta', {'mlp_dim': 32, 'pad_id': 1}, marks=pytest.mark.slow),
        pytest.param('bert', {'mlp_dim': 32, 'pool': 'mean'}, marks=pytest.mark.slow),
        pytest.param('distilbert', {'mlp_dim': 32}, marks=pytest.mark.slow),
        pytest.param('llama', {'mlp_dim': 32}, marks=pytest.mark.slow),
    ],
)
def test_a_sentence_gives_the_same_logits_alone_and_in_any_padded_batch(
    name, options, texts, tokenizer_folder
):
    network = build(name, {**SIZES, **options})
    prep = text_preprocessing(network, tokenizer_folder).with_length(64)
    variables = jax.tree.map(lambda x: 3 * x if x.ndim > 1 else x, random_variables(network, 0))
    lengths = tokenize(texts.inputs, prep).lengths
    data = texts.take([*np.flatnonzero(lengths <= 16)[:9], *np.flatnonzero(lengths > 32)[:3]])
    alone, _ = by_index(predict(network, variables, eval_batches(data, 1, None, prep), prep))
    assert np.ptp(alone, axis=0).min() > 1e-2  # sentences do differ
    for size in (5, len(data)):  # with short and long ones in one batch, with padding rows
        batches = eval_batches(data, size, None, prep)
        assert 64 in {batch['inputs']['input_ids'].shape[1] for batch in batches}
        together, _ = by_index(predict(network, variables, batches, prep))
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)
    batch = TrainStream(data, len(data), 0, preprocessing=prep).batch(0)
    ((got, _),) = predict(network, variables, [batch], prep)
    np.testing.assert_allclose(got, alone[batch['index']], atol=1e-5, rtol=0)


def test_tokens_pass_the_device_untouched(texts, prep):
    from ftjax.data import augment, prepare

    inputs = TrainStream(texts, 4, 0, preprocessing=prep).batch(0)['inputs']
    assert prepare(augment(inputs, jax.random.key(0), 'word_swap'), prep) is inputs


def test_what_does_not_fit_together_is_refused(texts, prep):
    from ftjax.preprocessing.images import Preprocessing

    images = np.zeros((4, 8, 8, 1), np.uint8)
    pictures = Dataset(name='i', kind='image', inputs=images, labels=[0] * 4, class_names='x')
    with pytest.raises(UserError, match='takes texts, the data are images'):
        eval_batches(pictures, 2, preprocessing=prep)
    with pytest.raises(UserError, match='takes images, the data are texts'):
        TrainStream(texts, 2, 0, preprocessing=Preprocessing(image_size=(8, 8)))


def test_the_preprocessing_of_a_run(bert, texts, tokenizer_folder):
    from ftjax.preprocessing.images import Preprocessing

    settings = DataSettings(max_length=40)
    found = matching_preprocessing(texts, bert.network, bert.preprocessing, settings)
    assert found == bert.preprocessing.with_length(40)
    cut, takes = bert.preprocessing.with_length(24), bert.network.longest_text
    for asked, length in ((40, 40), (takes, takes), (None, takes), (128, 24), (16, 16)):
        longer = matching_preprocessing(texts, bert.network, cut, DataSettings(max_length=asked))
        assert longer.max_length == longer.buckets[-1] == length
    with pytest.raises(UserError, match=rf'takes texts of at most {takes}'):
        matching_preprocessing(texts, bert.network, cut, DataSettings(max_length=takes + 1))
    named = DataSettings(max_length=40, tokenizer=str(tokenizer_folder / 'vocab.txt'))
    made = matching_preprocessing(texts, bert.network, None, named)
    assert isinstance(made, TextPreprocessing)
    assert tokenize(['a name'], made).ids.tolist() == tokenize(['a name'], found).ids.tolist()
    with pytest.raises(UserError, match='BERT came without a tokenizer'):
        matching_preprocessing(texts, bert.network, None, settings)
    vit, size = build('vit', {'depth': 1, 'width': 8, 'heads': 1}), Preprocessing(image_size=(8, 8))
    images = np.zeros((2, 8, 8, 3), np.uint8)
    pictures = Dataset(name='i', kind='image', inputs=images, labels=[0, 0], class_names='x')
    assert matching_preprocessing(pictures, vit, size, settings) is size
    with pytest.raises(UserError, match='ViT takes images, the data are texts'):
        matching_preprocessing(texts, vit, size, settings)
    with pytest.raises(UserError, match='BERT takes texts, the data are images'):
        matching_preprocessing(pictures, bert.network, bert.preprocessing, settings)


def test_a_text_that_is_no_unicode_is_named(prep):
    data = Dataset(name='bad', kind='text', inputs=['a', 'b\ud800'], labels=[0, 0], class_names='x')
    with pytest.raises(UserError, match=r'bad: row 2 \(counted from 1\) is no valid Unicode'):
        eval_batches(data, 2, preprocessing=prep)


def test_a_text_without_tokens_is_one_of_padding(tmp_path, sentences):
    from tokenizers.implementations import ByteLevelBPETokenizer

    made = ByteLevelBPETokenizer()
    made.train_from_iterator(sentences, vocab_size=300, show_progress=False)
    made.save(str(tmp_path / 'tokenizer.json'))
    sizes = {'width': 8, 'depth': 1, 'heads': 1, 'num_classes': 2, 'vocab_size': 400}
    network = build('gpt2', sizes)
    found = text_preprocessing(network, tmp_path)
    got = tokenize(['', 'value'], found)
    assert got.lengths[0] == 1 and got.ids[0] == found.pad_id
    rows = got.padded(np.array([0]), 16, found.pad_id)
    inputs = {'input_ids': rows['ids'], 'attention_mask': rows['real']}
    logits = jax.jit(network.apply)(random_variables(network, 0), inputs)
    assert np.isfinite(logits).all()
