"""A bundle of a network that takes rows of a table and gives a value: read, answered, served."""

import asyncio
import importlib.util
import json

import numpy as np
import pytest
import tiny_tasks
from asgi_calls import call, post, running

from ftjax import serving
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.bundle.reference import read_reference

pytestmark = pytest.mark.slow
ROWS = [{'age': 30.5, 'town': 'Ulm'}, {'age': None, 'town': 'Rom'}, {'age': 71, 'town': 'Paris'}]


@pytest.fixture(scope='module')
def table(tmp_path_factory):
    """(run, bundle) of a perceptron with gaps, a category and one value an example."""
    made = tiny_tasks.values(tmp_path_factory.mktemp('served_table'))
    return made.run, made.bundle


def test_values_are_those_of_predict(table):
    run, folder = table
    bundle = serving.load(folder)
    expected = answers_to(open_trained(str(run)), ROWS, {}, batch_size=len(ROWS)).rows
    found = bundle.predict(ROWS)
    assert [row['predicted'] for row in found] == [float(row['predicted']) for row in expected]
    goldens = read_goldens(folder)
    read = bundle.reader.stacked([bundle.reader.read(raw) for raw in goldens.raw])
    np.testing.assert_array_equal(read['features'], goldens.inputs['features'])
    reference = read_reference(folder, bundle.signature)
    assert reference.predicted.shape == (0,)
    assert reference.histogram.sum() == reference.count


@pytest.mark.skipif(not importlib.util.find_spec('fastapi'), reason='needs the extra serve')
def test_rows_over_http(table):
    from ftjax.serving.server.http_app import guarded_app
    from ftjax.serving.server.server_settings import ServerSettings
    from ftjax.serving.server.service import Service

    async def whole():
        service = Service(serving.load(table[1], goldens=False), ServerSettings(batch_sizes=(1, 4)))
        app = guarded_app(service)
        async with running(service):
            status, answer = await post(app, {'inputs': ROWS, 'nearest': 1})
            assert status == 200, answer
            assert all(isinstance(row['predicted'], float) for row in answer['predictions'])
            for bad in (
                {'age': 30},
                {'age': 'old', 'town': 'Ulm'},
                {'age': 1e308, 'town': 'Ulm'},
                {'age': 30, 'town': None},
                [30, 'Ulm'],
            ):
                status, answer = await post(app, {'inputs': [ROWS[0], bad]})
                assert (status, answer['error']['input']) == (422, 1), (bad, answer)
            document = json.loads((await call(app, '/openapi.json'))[2])
            content = document['paths']['/v1/predict']['post']['requestBody']['content']
            example = content['application/json']['example']
            assert set(example['inputs'][0]) == {'age', 'town'}  # a gap is null, not left out
            assert (await post(app, example))[0] == 200
            form = await call(app, '/v1/predict', b'a=1', kind='application/x-www-form-urlencoded')
            assert form[0] == 415
            assert (await post(app, {'inputs': ROWS[:1]}))[0] == 200

    asyncio.run(whole())
