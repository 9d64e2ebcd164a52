"""A small decoder beside transformers: training steps, stored features, texts, and the memory."""

from __future__ import annotations

import pathlib
import tempfile
from functools import partial
from typing import Any

import numpy as np

SIZES = {'vocabulary': 4096, 'width': 192, 'depth': 6, 'heads': 6, 'longest': 256}
ARMS = {'full': 1.0, 'last:2': 1.0, 'lora:8': 1.0}
STORED = 1.5
CHUNK = 128
"""Tokens of a chunk in the row of memory; a step of these sizes has a chunk of 1,024."""
CAPTION = (
    'A Llama (width {width}, {depth} blocks, {heads} heads, vocabulary of {vocabulary:,}, untied) '
    'beside that of transformers, from the same file, float32, AdamW, {batch} texts of {time} '
    'tokens a step; the head that came stays frozen but in full. Ratio: seconds of transformers '
    'over seconds of ftjax, median and quartiles of {rounds} rounds taken in turn. Generation: '
    '{new} greedy tokens after {batch} prompts of {prompt}, both with their caches; the tokens are '
    'compared. The last row: bytes between weights and gradients (not seconds) with chunks, and '
    'with the logits of all tokens at once. Rows of a machine without a name were measured '
    'under a load of about 10 on two cores.'
)


def run(
    folder: pathlib.Path,
    rounds: int = 5,
    batch: int = 8,
    time: int = 128,
    steps: int = 2,
    prompt: int = 32,
    new: int = 64,
) -> list[dict[str, Any]]:
    """Writes language_models.json and .md."""
    from benchmarks import sides, tables
    from benchmarks.torch_decoder import TorchDecoder, saved

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        saved(place, **SIZES)
        data, preprocessing, ids = made_texts(place, batch, time)
        rows = []
        for arm, target in {**ARMS, 'last:2, stored': STORED}.items():
            freeze = arm.partition(',')[0]
            ours = our_side(place, freeze, data, preprocessing, batch, steps, arm != freeze)
            theirs = TorchDecoder(place, freeze, ids, batch, sides.threads())
            if not freeze.startswith('lora'):
                assert ours.trainable == theirs.trainable, (arm, ours.trainable, theirs.trainable)
            pairs = in_turn(partial(ours.steps, steps), partial(theirs.steps, steps), rounds)
            rows.append(sides.row(f'a step of {arm}', *each(pairs, steps), target, 'step'))
        prompts = rng.integers(1, SIZES['vocabulary'], (batch, prompt)).astype(np.int32)
        rows.append(generation(place, prompts, new, rounds))
        rows.append(memory(place, batch, time))
    said = CAPTION.format(**SIZES, batch=batch, time=time, rounds=rounds, new=new, prompt=prompt)
    tables.write(
        folder, 'language_models', rows, said, 'python scripts/benchmark.py language_models'
    )
    return rows


def made_texts(place: str, batch: int, time: int) -> tuple[Any, Any, np.ndarray]:
    """Data of random words, all of one length, a tokenizer of these words, and their ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    from ftjax.data import Dataset, Splits
    from ftjax.preprocessing.texts import TextPreprocessing
    from ftjax.preprocessing.tokenizer import digest

    words = {f'w{number}': number for number in range(SIZES['vocabulary'])}
    tokenizer: Any = Tokenizer(models.WordLevel(words, unk_token='w0'))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path = pathlib.Path(place) / 'words.json'
    path.write_text(tokenizer.to_str(), encoding='utf-8')
    preprocessing = TextPreprocessing(
        tokenizer=str(path),
        sha256=digest(path.read_text(encoding='utf-8')),
        vocab_size=SIZES['vocabulary'],
        max_length=time,
        buckets=(time,),
    )
    ids = np.random.default_rng(0).integers(1, SIZES['vocabulary'], (8 * batch, time))
    texts = [' '.join(f'w{token}' for token in row) for row in ids]
    made = [
        Dataset(
            name='words',
            kind='text',
            inputs=part,
            labels=np.zeros(len(part), np.int32),
            task='causal_lm',
        )
        for part in (texts, texts[:batch])
    ]
    return Splits(train=made[0], val=made[1], test=made[1]), preprocessing, ids


def our_side(
    place: str, freeze: str, data: Any, preprocessing: Any, batch: int, steps: int, cached: bool
) -> Any:
    """The steps of `fit`."""
    from benchmarks.fit_steps import FitSteps

    from ftjax.pretrained.open import load_pretrained

    found = load_pretrained(place)
    how = {'cached': cached, 'longest': steps, 'head_is_new': False}
    return FitSteps(found.network, found.variables, freeze, data, preprocessing, batch, **how)


def in_turn(ours: Any, theirs: Any, rounds: int) -> list[Any]:
    """(ours, theirs) of each round, timed in turn; the first, which warms up, left out."""
    from benchmarks import sides

    return [(sides.timed(ours), sides.timed(theirs)) for _ in range(rounds + 1)][1:]


def each(pairs: list[Any], count: int) -> tuple[list[Any], list[Any]]:
    """The times of both sides for one of `count`."""
    mine, other = zip(*pairs, strict=True)
    return tuple([np.array(x) / count for x in side] for side in (mine, other))  # pyrefly: ignore


def generation(place: str, prompts: np.ndarray, new: int, rounds: int) -> dict[str, Any]:
    """The row of greedy texts, whose tokens are compared."""
    import jax
    from benchmarks import sides
    from benchmarks.torch_decoder import TorchDecoder

    from ftjax.evaluation.generation.decoding import Decoding
    from ftjax.evaluation.generation.sampling import GREEDY
    from ftjax.pretrained.open import load_pretrained

    found = load_pretrained(place)
    theirs = TorchDecoder(place, 'full', prompts, len(prompts), sides.threads())
    keys = jax.random.split(jax.random.key(0), len(prompts))
    decoding: Any = Decoding(found.network, new, GREEDY)
    mask = np.ones(prompts.shape, bool)
    program = jax.jit(lambda variables: decoding(variables, prompts, mask, keys))
    tokens: dict[str, np.ndarray] = {}

    def ours() -> None:
        tokens['ours'] = np.asarray(program(found.variables))

    def others() -> None:
        tokens['theirs'] = theirs.generate(prompts, new)

    pairs = in_turn(ours, others, rounds)
    same = float((tokens['ours'] == tokens['theirs']).mean())
    name = f'generation, {same:.1%} of the tokens equal'
    return sides.row(name, *each(pairs, new * len(prompts)), 1.0, 'token')


def memory(place: str, batch: int, time: int) -> dict[str, Any]:
    """The row of what lies between weights and gradients of a step, chunked or not."""
    import jax

    from ftjax.models.layers import token_scores
    from ftjax.pretrained.open import load_pretrained

    found, bytes_ = load_pretrained(place), {}
    ids = np.zeros((batch, time), np.int32)
    for chunk in (CHUNK, 2**30):
        token_scores.token_scores.__defaults__ = (chunk,)

        def loss(variables: Any) -> Any:
            inputs = {'input_ids': ids, 'targets': ids}
            scores: Any = found.network.apply(variables, inputs)
            return scores[..., 0].mean()

        compiled: Any = jax.jit(jax.grad(loss)).lower(found.variables).compile()
        bytes_[chunk] = float(compiled.memory_analysis().temp_size_in_bytes)
    token_scores.token_scores.__defaults__ = (token_scores.CHUNK,)
    ratio = bytes_[2**30] / bytes_[CHUNK]
    return {
        'row': f'memory of the gradients of full, chunks of {CHUNK} tokens',
        'ratio': ratio,
        'spread': [ratio, ratio],
        'target': None,
        'ratio_of_core_seconds': None,
        'ours_seconds': bytes_[CHUNK],
        'pytorch_seconds': bytes_[2**30],
        'unit': 'bytes',
        'rounds': 1,
    }
