"""Texts that are written with keys and values kept are those that are written without."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_decoder import WORDS, decoder, initial, preprocessing_of

from ftjax.errors import UserError
from ftjax.evaluation.generation.decoding import Decoding
from ftjax.evaluation.generation.generated_texts import generated, padded_left
from ftjax.evaluation.generation.sampling import GREEDY, Sampling
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.models.adapters.adapted import adapted, merge
from ftjax.models.adapters.lora import LoRA
from ftjax.models.adapters.prompt import Prompt
from ftjax.models.registry import build

PROMPTS = [[3, 5, 7, 8, 2, 9], [4], [6, 6, 1]]
NEW = 7
GPT2 = {'vocab_size': 12, 'width': 16, 'depth': 2, 'heads': 2, 'head': 'lm', 'max_positions': 16}


def written_again(net, variables, prompt, sampling=GREEDY, key=None, count=NEW):
    """The same by running the network on the whole text for each token."""
    apply, tokens = jax.jit(net.apply), list(prompt)
    for number in range(count):
        ids = np.zeros((1, 16), np.int32)
        ids[0, : len(tokens)] = tokens
        real = np.arange(16)[None] < len(tokens)
        logits = apply(variables, {'input_ids': ids, 'attention_mask': real})[:, len(tokens) - 1]
        keys = None if key is None else jax.random.fold_in(key, number)[None]
        tokens.append(int(sampling.chosen(logits, keys)[0]))
    return tokens[len(prompt) :]


def decoded(net, variables, sampling=GREEDY, ends=(), seed=0):
    ids, mask = padded_left(PROMPTS, 8, 0)
    keys = jax.random.split(jax.random.key(seed), len(PROMPTS))
    run = Decoding(net, NEW, sampling, ends)
    return np.asarray(jax.jit(run)(variables, ids, mask, keys)), keys


SLOW = {
    'llama': decoder(heads=4, kv_heads=2),
    'gpt2': build('gpt2', GPT2),
    'scaled': decoder(rope_scaling=('linear', 2.0), qk_norm=True, tied=True),
    'bfloat16': decoder(dtype='bfloat16'),
}
NETWORKS = {'window': decoder(heads=4, kv_heads=2, window=3), **SLOW}


@pytest.mark.parametrize(
    'name', ['window', *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_texts_are_those_without_a_cache(name):
    net = NETWORKS[name]
    variables = initial(net, scale=8 if name != 'gpt2' else 20)
    tokens, _ = decoded(net, variables)
    for row, prompt in zip(tokens, PROMPTS, strict=True):
        assert row.tolist() == written_again(net, variables, prompt)
    assert len({tuple(row) for row in tokens.tolist()}) > 1


def test_a_text_ends_with_its_end_token_and_drawn_tokens_follow_from_the_seed():
    net = NETWORKS['window']
    variables = initial(net)
    plain, _ = decoded(net, variables)
    end = int(plain[0, 2])
    stopped, _ = decoded(net, variables, ends=(end,))
    first = plain[0].tolist().index(end)
    assert stopped[0].tolist() == [*plain[0, : first + 1], *[0] * (NEW - first - 1)]
    hot = Sampling(temperature=2.0, top_k=5, top_p=0.9)
    drawn, keys = decoded(net, variables, hot)
    assert drawn[1].tolist() == written_again(net, variables, PROMPTS[1], hot, keys[1])
    np.testing.assert_array_equal(drawn, decoded(net, variables, hot)[0])
    assert (drawn != decoded(net, variables, hot, seed=1)[0]).any()


def test_what_is_left_out_before_drawing():
    logits = np.log(np.array([[0.5, 0.25, 0.15, 0.1]], np.float32))

    def kept(**options):
        return np.isfinite(Sampling(temperature=1.0, **options).kept(logits))[0].tolist()

    assert kept() == [True] * 4 and kept(top_k=9) == [True] * 4
    assert kept(top_k=2) == [True, True, False, False]
    # 0.5 and 0.25 have 0.75 together, which is not yet 0.8: the third comes too.
    assert kept(top_p=0.8) == [True, True, True, False]
    assert kept(top_p=0.75 - 1e-3) == [True, True, False, False]
    assert kept(top_p=1e-6) == [True, False, False, False]
    halved = Sampling(temperature=0.5).kept(logits)
    np.testing.assert_allclose(halved, 2 * logits)
    draw = jax.vmap(lambda key: Sampling(temperature=1.0).chosen(logits, key[None])[0])
    counts = np.bincount(draw(jax.random.split(jax.random.key(0), 4000)), minlength=4)
    np.testing.assert_allclose(counts / 4000, [0.5, 0.25, 0.15, 0.1], atol=0.03)
    for wrong in ({'temperature': -1.0}, {'top_p': 0.0}, {'top_p': 1.5}, {'top_k': -1}):
        with pytest.raises(UserError, match='generation'):
            Sampling(**wrong)
    for idle in ({'top_k': 5}, {'top_p': 0.9}):
        with pytest.raises(UserError, match='no effect at temperature 0'):
            Sampling(**idle)


@pytest.mark.slow
def test_texts_of_prompts_do_not_depend_on_the_batch(tmp_path):
    net = NETWORKS['window']
    variables = initial(net)
    preprocessing = preprocessing_of(net, tmp_path, max_length=8, buckets=(8,))
    prompts = ['a bb', 'ccc', 'dd e a bb', 'e', 'bb']
    for sampling in (GREEDY, Sampling(temperature=1.5)):
        how = {'new_tokens': 5, 'sampling': sampling}
        one, many = (
            generated(net, variables, prompts, preprocessing, batch_size=size, **how)
            for size in (2, 5)
        )
        assert one == many and set(' '.join(one).split()) <= set(WORDS)


def test_prompts_that_cannot_be_are_named(tmp_path):
    net, prompts = NETWORKS['window'], ['a bb', 'ccc', 'dd e a bb', 'e', 'bb']
    variables, preprocessing = {}, preprocessing_of(net, tmp_path, max_length=8, buckets=(8,))
    with pytest.raises(UserError, match='prompt 2 has no token'):
        generated(net, variables, ['a', ''], preprocessing, written=True)
    with pytest.raises(UserError, match='writes no texts'):
        generated(build('bert', {'depth': 1}), variables, prompts, preprocessing)
    short = build('gpt2', GPT2)
    with pytest.raises(UserError, match=r'prompt 3 has 5 tokens.*no room for 12 new'):
        own = dataclasses.replace(preprocessing, vocab_size=12)
        generated(short, variables, prompts, own, new_tokens=12)
    other = dataclasses.replace(preprocessing, vocab_size=6)
    with pytest.raises(UserError, match='gives token 7, and the network knows 6'):
        generated(net, variables, ['a bb', 'dd'], other)


def test_a_bucket_leaves_the_room_that_its_texts_have(tmp_path):
    net = build('gpt2', {**GPT2, 'depth': 1, 'max_positions': 24})
    variables, texts = initial(net), ['a bb ' * 8]  # 17 tokens
    preprocessing = preprocessing_of(net, tmp_path, max_length=24, buckets=(16, 24))
    exact = dataclasses.replace(preprocessing, buckets=(18, 24))
    wanted, found = (
        generated(net, variables, texts, each, new_tokens=6, batch_size=1)
        for each in (exact, preprocessing)
    )
    assert wanted == found and found[0]
    broken = jax.tree.map(lambda x: x * np.nan, variables)
    with pytest.raises(NonFinitePredictions, match='1 of 1 predictions are NaN'):
        generated(net, broken, texts, preprocessing, new_tokens=6, batch_size=1)


@pytest.mark.slow
def test_merged_adapters_write_the_same_texts():
    net = adapted(decoder(), [LoRA(rank=2)])
    variables = initial(net)
    flat = jax.tree.map(lambda x: x + 0.1, variables)  # no adapter is at its start any more
    tokens, _ = decoded(net, flat)
    merged, folded = merge(net, flat)
    np.testing.assert_array_equal(tokens, decoded(merged, folded)[0])
    with pytest.raises(UserError, match='stand within a text'):
        decoded(adapted(decoder(), [Prompt(tokens=2)]), initial(net))
