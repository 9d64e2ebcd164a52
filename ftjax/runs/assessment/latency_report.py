"""Latency of a trained network: by batch size, length and precision, and of its start."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ftjax.config import read_saved_config
from ftjax.data.dataset import Dataset
from ftjax.data.load import load_data
from ftjax.errors import UserError
from ftjax.evaluation.latency import PROTOCOL, Calls, forward_latency
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import gather
from ftjax.io.files.atomic import read_json
from ftjax.io.process.provenance import host, peak_memory, versions
from ftjax.models.adapters.adapted import plain_network
from ftjax.models.registry import fields_of
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.runs.assessment.examination import outputs_on
from ftjax.runs.prediction.trained import Trained, open_trained, run_of

PRECISIONS: Mapping[str, Mapping[str, object]] = {
    'float32': {},
    'bfloat16 weights': {'dtype': jnp.bfloat16},
    'bfloat16': {'dtype': jnp.bfloat16, 'options': {'dtype': 'bfloat16'}},
}
"""What is measured, float32 and beside it weights held in bfloat16, and computing in it too."""

EXAMPLES, RANDOM = 512, 64
"""Test examples, or random inputs where there are none, on which precisions are compared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatencyRequest:
    """What is measured."""

    init: str
    batch_sizes: Sequence[int] = (1, 8, 64)
    lengths: Sequence[int] = ()
    """Tokens of a text; () for the shortest and the longest that batches are padded to."""
    calls: Calls = dataclasses.field(default_factory=Calls)
    start: bool = True
    """Whether starts of a process are measured too."""
    parts: Sequence[str] = ()
    task: str = ''
    allow_code_change: bool = False

    def __post_init__(self):
        for name, values in (('batch size', self.batch_sizes), ('length', self.lengths)):
            for value in values:
                if value < 1:
                    raise UserError(f'{name} is {value}; expected at least 1')
        if not self.batch_sizes:
            raise UserError('no batch size to measure')


def latency_report(request: LatencyRequest, say: Callable[[str], object]) -> dict[str, Any]:
    """Measures, says a line a measurement, gives all of it: plain JSON."""
    rows, agreement, known_data = [], {}, _test_examples(request.init)
    warnings: list[str] = []
    exact: np.ndarray | None = None
    for name, precision in PRECISIONS.items():
        trained = open_trained(
            *(request.init, request.parts, request.task),
            allow_code_change=request.allow_code_change,
            **precision,
        )
        warnings = trained.warnings()
        known = fields_of(type(plain_network(trained.network)))
        if 'dtype' not in known and 'options' in precision:
            continue
        lengths = _lengths(trained, request.lengths)
        for size in request.batch_sizes:
            for length in lengths:
                inputs = example_batch(trained, size, length)
                row = forward_latency(
                    trained.network, trained.placed, trained.preprocessing, inputs, request.calls
                )
                rows.append({'precision': name, **row})
                say(latency_line(rows[-1]))
        outputs = _outputs(trained, lengths[-1], known_data)
        if exact is None:
            exact = outputs
        else:
            agreement[name] = change(exact, outputs) | {'of': 'test examples'}
            if known_data is None:
                agreement[name]['of'] = 'random inputs'
            say(f'{name} beside float32: {change_line(agreement[name])}')
    for line in warnings:
        say(f'warning: {line}')
    found = {
        'protocol': PROTOCOL,
        **({'warnings': warnings} if warnings else {}),
        'rows': rows,
        'change': agreement,
        'host_peak_bytes': peak_memory()['host_bytes'],
        'machine': host(),
        'versions': versions(),
    }
    if request.start:
        found['start'] = starts(request)
        for kind, row in found['start'].items():
            say(f'{kind} start: {row["seconds"]:.1f} s from an empty process to the first answer')
    return found


def example_batch(trained: Trained, size: int, length: int | None, seed: int = 0) -> Any:
    """A batch of random pixels, rows of a table, or tokens of so many each, none of it padding."""
    rng = np.random.default_rng(seed)
    if trained.network.takes == 'table':
        row = trained.network.example_input(1)
        shape = (size, *row['features'].shape[1:])
        made: dict[str, object] = {'features': rng.normal(size=shape).astype(np.float32)}
        if trained.network.table_codes:
            codes = rng.integers(0, trained.network.table_codes, (size, len(row['codes'][0])))
            made['codes'] = codes.astype(np.int32)
        return made
    if length is None:
        image = trained.network.example_input(1)
        assert not isinstance(image, Mapping)
        return rng.integers(0, 256, (size, *image.shape[1:]), dtype=np.uint8)
    vocab = trained.network.vocab_size or 1
    inputs = {
        'input_ids': rng.integers(0, vocab, (size, length), dtype=np.int32),
        'attention_mask': np.ones((size, length), np.int32),
    }
    preprocessing = trained.preprocessing
    if isinstance(preprocessing, TextPreprocessing) and preprocessing.token_types:
        inputs['token_type_ids'] = np.zeros((size, length), np.int32)
    return inputs


def change(exact: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """How far outputs differ from those in float32: of any shape, classes along the last axis."""
    gaps = np.abs(other.astype(np.float64) - exact)
    found = {
        'largest_change': float(gaps.max()),
        'largest_output': float(np.abs(exact).max()),
        'examples': len(exact),
    }
    if exact.shape[-1] > 1:
        same = exact.argmax(axis=-1) == other.argmax(axis=-1)
        found['share_of_answers_changed'] = float(1 - same.mean())
    return found


def change_line(row: Mapping[str, object]) -> str:
    """A `change` in words."""
    line = f'outputs differ by {row["largest_change"]:.3g} at most (of {row["largest_output"]:.3g})'
    if 'share_of_answers_changed' in row:
        line += f', {row["share_of_answers_changed"]:.2%} of answers'
    return f'{line}, on {row["examples"]} {row["of"]}'


def latency_line(row: Mapping[str, object]) -> str:
    """A measurement in words."""
    length = f', {row["length"]} tokens' if 'length' in row else ''
    names = ('p50_ms', 'p95_ms', 'p99_ms')
    parts = [f'{n.removesuffix("_ms")} {row[n]:.3g} ms' for n in names if row[n] is not None]
    return (
        f'{row["precision"]}, batch {row["batch_size"]}{length}: {", ".join(parts)}, '
        f'{row["examples_per_second"]:.4g} examples/s ({row["calls"]} calls)'
    )


def starts(request: LatencyRequest) -> dict[str, dict[str, float]]:
    """Seconds from the start of a process to its first answer: without and with kept programs.

    `cold` has an empty compilation cache, `warm` the one that `cold` has filled. The operating
    system may hold the files in memory in both.
    """
    with tempfile.TemporaryDirectory() as folder:
        return {kind: _start(request, folder) for kind in ('cold', 'warm')}


def _start(request: LatencyRequest, cache: str) -> dict[str, float]:
    words = [sys.executable, '-m', 'ftjax.runs.assessment.first_answer', request.init, request.task]
    words.append('any code' if request.allow_code_change else '')
    environment = {**os.environ, 'JAX_COMPILATION_CACHE_DIR': cache}
    began = time.perf_counter()
    done = subprocess.run(
        [*words, *request.parts], capture_output=True, text=True, env=environment, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ['no message'])[-1]
        raise UserError(f'a process that opens {request.init} alone failed: {last}')
    return {'seconds': seconds, **json.loads(done.stdout.splitlines()[-1])}


def _lengths(trained: Trained, asked: Sequence[int]) -> list[int | None]:
    if not trained.texts:
        if asked:
            takes = 'rows of a table' if trained.network.takes == 'table' else 'images'
            raise UserError(f'lengths are of texts, and the network takes {takes}')
        return [None]
    preprocessing = trained.reading().preprocessing
    assert isinstance(preprocessing, TextPreprocessing)
    for length in asked:
        if length > preprocessing.max_length:
            raise UserError(
                f'length {length} is above the longest text, {preprocessing.max_length}'
            )
    ends = sorted({preprocessing.buckets[0], preprocessing.buckets[-1]})
    return [*(asked or ends)]


def _test_examples(init: str) -> Dataset | None:
    """The test split of a network's run; None where there is none, or it cannot be read now."""
    run = run_of(pathlib.Path(init))
    if run is None:
        return None
    try:
        test = load_data(read_saved_config(read_json(run / 'config.json')).data).test
    except UserError:
        return None
    return test if len(test) else None


def _outputs(trained: Trained, length: int | None, data: Dataset | None) -> np.ndarray:
    """Outputs on test examples, or on random inputs: the same for every precision."""
    if data is not None:
        return outputs_on(trained, data, None, EXAMPLES)[0].astype(np.float64)
    batch = {'inputs': example_batch(trained, RANDOM, length, seed=1)}
    batch |= {'labels': np.zeros(RANDOM), 'mask': np.ones(RANDOM, np.float32)}
    pairs = predict(trained.network, trained.placed, [batch], trained.preprocessing)
    return gather(pairs).outputs.astype(np.float64)
