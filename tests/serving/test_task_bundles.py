"""Bundles of tasks that answer with more than a class: bits of an evaluation, answers of predict,
over HTTP as well, and what is no input of theirs."""

import asyncio
import importlib.util

import numpy as np
import pytest
import tiny_tasks
from asgi_calls import post, running

from ftjax import serving
from ftjax.config import read_config
from ftjax.data.load import load_data
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.io.files.atomic import read_json
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.making.bundle_inputs import arrays_of, batches_of, raw_of
from ftjax.serving.making.refresh import refresh
from ftjax.serving.server.http_app import guarded_app
from ftjax.serving.server.server_settings import ServerSettings
from ftjax.serving.server.service import Service
from ftjax.tasks import task_of

needed = ('fastapi', 'uvicorn', 'prometheus_client', 'orjson', 'multipart')
server_needed = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in needed), reason='needs the extra serve'
)
TASKS = ('tags',)
MADE = {}


@pytest.fixture(params=TASKS)
def made(request, tmp_path_factory):
    """A run and its bundle, of each task; made once."""
    name = request.param
    if name not in MADE:
        MADE[name] = getattr(tiny_tasks, name)(tmp_path_factory.mktemp(name))
        MADE[name].name = name
    return MADE[name]


def as_rows(array):
    """Several texts or windows of an example as rows of their own."""
    return array.reshape(-1, array.shape[-1])


def test_metrics_and_outputs_are_those_of_evaluate_bit_for_bit(made):
    trained, bundle = open_trained(str(made.run)), serving.load(made.bundle, goldens=False)
    test = load_data(read_config(read_json(made.run / 'config.json')).data).test
    batches, served = batches_of(trained, test), []
    for outputs, batch in predict(trained.network, trained.placed, batches, trained.preprocessing):
        arrays = {name: as_rows(array) for name, array in arrays_of(batch['inputs']).items()}
        found = bundle.run(arrays, bucket=next(iter(arrays.values())).shape[1]).outputs
        served.append((found.reshape(outputs.shape), batch))
        np.testing.assert_array_equal(served[-1][0], outputs)
    metrics = task_of(test.task).measure(iter(served), trained.class_names)
    told = read_json(made.run / 'result.json')['metrics']
    numbers = {name: value for name, value in metrics.items() if isinstance(value, float)}
    assert len(numbers) > 1 and numbers == {name: told[name] for name in numbers}


SAME = {}


def same(name):
    """Registers what it is for an answer of a bundle to be that of predict's row."""
    return lambda function: SAME.setdefault(name, function)


@same('tags')
def same_tags(mine, row):
    assert ' '.join(mine['predicted']) == row['predicted']
    told = [f'{s["type"]}[{s["first"]}:{s["last"]}] {s["text"]}' for s in mine['spans']]
    assert '|'.join(told) == row['spans']


def raw_inputs(made, count=16):
    trained = open_trained(str(made.run))
    test = load_data(read_config(read_json(made.run / 'config.json')).data).test
    return trained, test, [raw_of(test, index) for index in range(min(count, len(test)))]


def test_answers_are_those_of_predict(made):
    trained, test, raw = raw_inputs(made)
    rows = answers_to(trained, list(test.inputs[: len(raw)]), {}, batch_size=len(raw)).rows
    for mine, row in zip(serving.load(made.bundle).predict(raw), rows, strict=True):
        SAME[made.name](mine, row)


def test_reference_and_refresh(made, tmp_path):
    bundle = serving.load(made.bundle, goldens=False)
    reference = read_reference(made.bundle, bundle.signature)
    assert reference.histogram.sum() == reference.count > 1
    assert bundle.manifest['version'] == 2
    new = serving.load(refresh(made.bundle, tmp_path / 'new'))
    assert new.signature == bundle.signature


SETTINGS = ServerSettings(
    batch_sizes=(1, 8),
    latency_ms=1,
    max_bytes=100_000,
    max_inputs=16,
    max_characters=5000,
    queue=64,
)
POISON = {
    'tags': [
        (7, 422, 'expected a text'),
        ([], 422, 'no words'),
        ('', 422, 'no words'),
        (['a', 7], 422, 'is no word'),
        ([['a']], 422, 'is no word'),
        ({'words': ['a']}, 422, 'expected a text'),
        (None, 422, 'expected a text'),
        (['a' * 6000], 413, '6000 characters'),
        (['a'] * 2000, 413, 'rows of the network'),
        ([''] * 6000, 413, '6000 characters'),
        ('\ud800', 422, ''),
    ]
}


@server_needed
def test_the_server_answers_as_the_bundle_and_refuses_what_is_no_input(made):
    _, _, raw = raw_inputs(made)
    expected = serving.load(made.bundle, goldens=False).predict(raw)

    async def work():
        service = Service(serving.load(made.bundle, goldens=False), SETTINGS)
        app = guarded_app(service)
        async with running(service):
            status, answer = await post(app, {'inputs': raw, 'nearest': 2, 'outputs': True})
            assert status == 200, answer
            for given, row in zip(answer['predictions'], expected, strict=True):
                assert len(given.pop('nearest')) == 2
                assert np.isfinite(np.concatenate([*map(np.ravel, given.pop('outputs'))])).all()
                alike(given, row)
            for poison, wanted, said in POISON[made.name]:
                status, answer = await post(app, {'inputs': [raw[0], poison]})
                assert (status, said in str(answer)) == (wanted, True), (poison, answer)
                status, answer = await post(app, {'inputs': raw[:1]})
                assert status == 200
            assert service.batcher.pending == 0

    asyncio.run(work())


def alike(given, row):
    """Equal, but for the last bits of numbers: batches are of other sizes."""
    assert set(given) == set(row)
    for name, value in row.items():
        if isinstance(value, float):
            assert given[name] == pytest.approx(value, abs=1e-5)
        elif isinstance(value, list) and value and isinstance(value[0], float):
            np.testing.assert_allclose(given[name], value, atol=1e-5)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for mine, other in zip(given[name], value, strict=True):
                alike(mine, other)
        elif isinstance(value, dict):
            alike(given[name], value)
        else:
            assert given[name] == value


def test_a_task_without_an_answer_is_refused():
    with pytest.raises(UserError, match='no answer to a whole one'):
        task_of('masked_tokens').check_answers()
