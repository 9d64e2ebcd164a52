"""The server in this process: answers, limits, poisoned requests, readiness, the token."""

import asyncio
import base64
import dataclasses
import importlib.util
import json
import shlex

import numpy as np
import pytest
from asgi_calls import call, post, running
from image_requests import SETTINGS, form, pictures, png, served, with_server

from ftjax import serving
from ftjax.errors import UserError
from ftjax.serving.bundle.answer_rows import answer_rows
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.server.api_page import curl_of
from ftjax.serving.server.server_settings import ServerSettings, read_token

needed = ('fastapi', 'uvicorn', 'prometheus_client', 'orjson', 'multipart')
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in needed), reason='needs the extra serve'
)


@pytest.mark.parametrize('size', [1, 4])
def test_answers_are_the_bundles_bit_for_bit_at_the_same_padded_batch(images, size):
    pixels = pictures(4)
    direct = serving.load(images.bundle, goldens=False)
    expected = {}
    for count in (1, 3, 4):
        rows = np.split(pixels[:count, ..., None], range(size, count, size))
        found = np.concatenate([direct.run({'images': each}, size).outputs for each in rows])
        expected[count] = found, answer_rows(found, direct.signature)

    async def work(service, app):
        for count, (outputs, rows) in expected.items():
            inputs = [{'image': base64.b64encode(png(one)).decode()} for one in pixels[:count]]
            status, answer = await post(app, {'inputs': inputs, 'outputs': True, 'nearest': 2})
            assert status == 200, answer
            for given, row, own in zip(answer['predictions'], rows, outputs, strict=True):
                assert {key: given[key] for key in row} == row
                assert np.array_equal(np.float32(given['outputs']), own)
                assert len(given['nearest']) == 2
        raw = [{'pixels': one.tolist()} for one in pixels[:3]]
        as_pixels = await post(app, {'inputs': raw})
        body, kind = form(*(('image', png(one)) for one in pixels[:3]))
        as_form = await post(app, body, kind=kind)
        as_body = await post(app, png(pixels[0]), kind='image/png')
        assert as_pixels[1]['predictions'] == as_form[1]['predictions'] == expected[3][1]
        assert as_body[1]['predictions'] == expected[1][1]
        assert service.batcher.pending == 0

    with_server(images, work, dataclasses.replace(SETTINGS, batch_sizes=(size,)))


def test_an_input_that_is_refused_is_named_and_nothing_else_of_the_request_runs(images):
    inputs = [{'pixels': [[1]]}, {'image': 'AAAA'}]

    async def work(service, app):
        status, answer = await post(app, {'inputs': inputs})
        assert (status, answer['error']['input']) == (422, 1)

    with_server(images, work)


def test_not_ready_until_all_is_compiled_and_the_goldens_are_right(images):
    async def whole():
        service, app = served(images)
        assert (await call(app, '/healthz'))[0] == 200
        assert (await call(app, '/readyz'))[0] == 503
        status, answer = await post(app, {'inputs': [{'pixels': [[1]]}]})
        assert (status, answer['error']['code']) == (503, 'not_ready')
        async with running(service):
            status, _, body = await call(app, '/readyz')
            assert (status, json.loads(body)['programs']) == (200, len(service.bundle.compiled))
            assert {(0, 1), (0, 4)} <= set(service.bundle.compiled)
        assert (await call(app, '/readyz'))[0] == 503
        service, app = served(images)
        service.bundle.weights = {k: v + 1 for k, v in service.bundle.weights.items()}
        service.warm_up()
        status, _, body = await call(app, '/readyz')
        assert (status, 'golden inputs differ' in body.decode()) == (503, True)

    asyncio.run(whole())


def test_a_token_is_asked_for_everywhere_but_for_health_and_the_page(images, tmp_path):
    token = tmp_path / 'token'
    token.write_text('0123456789abcdef\n')
    settings = ServerSettings(token=read_token(str(token)))
    assert '0123456789abcdef' not in repr(settings)

    async def whole():
        _, app = served(images, settings)
        for path in ('/v1/models', '/metrics', '/docs', '/openapi.json'):
            status, headers, _ = await call(app, path)
            assert (status, headers['www-authenticate']) == (401, 'Bearer')
            for bad in ('Bearer 0123456789abcdeF', 'Basic 0123456789abcdef', 'Bearer'):
                assert (await call(app, path, headers=[('Authorization', bad)]))[0] == 401
            right = [('Authorization', 'Bearer 0123456789abcdef')]
            assert (await call(app, path, headers=right))[0] == 200
        for path in ('/healthz', '/'):
            assert (await call(app, path))[0] == 200

    asyncio.run(whole())
    token.write_text('short')
    with pytest.raises(UserError, match='short'):
        ServerSettings(token=read_token(str(token)))


def test_pages_run_no_foreign_script_and_the_printed_example_is_answered(images):
    async def work(service, app):
        status, headers, body = await call(app, '/')
        assert status == 200
        assert "default-src 'none'" in headers['content-security-policy']
        assert b'http://' not in body and b'https://' not in body and b'innerHTML' not in body
        document = json.loads((await call(app, '/openapi.json'))[2])
        content = document['paths']['/v1/predict']['post']['requestBody']['content']
        example = content['application/json']['example']
        assert (await post(app, example))[0] == 200
        docs = (await call(app, '/docs'))[2].decode()
        command = curl_of('http://testserver/', example, token=False)
        assert shlex.split(command)[-1] == json.dumps(example)
        assert 'curl -s http://testserver/v1/predict' in docs
        models = json.loads((await call(app, '/v1/models'))[2])['models']
        assert models[0]['class_names'] == ['ant', 'bee', 'cat']
        assert models[0]['sha256'] == service.bundle.digest
        assert (await call(app, '/nothing'))[0] == 404
        assert (await call(app, '/v1/predict'))[0] == 405

    with_server(images, work)


def test_metrics_and_logs_count_and_hold_no_inputs(images, caplog):
    caplog.set_level('INFO', 'ftjax.serving.requests')

    async def work(service, app):
        body, kind = form(('image', png(pictures(1)[0])))
        assert (await post(app, body, kind=kind, headers=[('X-Request-Id', 'abc-1')]))[0] == 200
        assert (await post(app, {'inputs': ['secret words']}))[0] == 422
        status, _, text = await call(app, '/metrics')
        return status, text.decode()

    status, text = with_server(images, work)
    assert status == 200
    assert 'ftjax_requests_total{path="/v1/predict",status="200"} 1.0' in text
    assert 'ftjax_requests_total{path="/v1/predict",status="422"} 1.0' in text
    assert 'ftjax_confidence_count 1.0' in text
    assert 'ftjax_ready 1.0' in text
    rows = [
        json.loads(r.getMessage()) for r in caplog.records if r.name == 'ftjax.serving.requests'
    ]
    assert rows[0]['request_id'] == 'abc-1'
    assert (rows[0]['status'], rows[0]['inputs'], rows[0]['path']) == (200, 1, '/v1/predict')
    assert 'secret' not in caplog.text and 'secret' not in text


@pytest.mark.slow
def test_texts_in_every_way(texts):
    goldens = read_goldens(texts.bundle)

    async def work(service, app):
        status, answer = await post(app, {'inputs': list(goldens.raw)[:4]})
        assert status == 200
        body = b''
        for raw in goldens.raw[:4]:
            body += b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
            body += raw.encode() + b'\r\n'
        kind = 'multipart/form-data; boundary=x'
        status, by_form = await post(app, body + b'--x--\r\n', kind=kind)
        assert status == 200
        names = [row['predicted'] for row in answer['predictions']]
        assert [row['predicted'] for row in by_form['predictions']] == names
        long = await post(app, {'inputs': ['a ' * 40_000]})
        assert long[0] == 200  # cut, as in training
        for bad, status in (('x' * 10**7, 413), ([1], 422), (['a', 'b', 'c'], 422), (None, 422)):
            assert (await post(app, {'inputs': [bad]}))[0] == status
        lone = await post(app, b'{"inputs": ["\\ud800"]}')
        assert lone[0] == 422
        example = json.loads((await call(app, '/openapi.json'))[2])
        content = example['paths']['/v1/predict']['post']['requestBody']['content']
        assert (await post(app, content['application/json']['example']))[0] == 200

    settings = ServerSettings(batch_sizes=(1, 4), max_bytes=2**20)
    with_server(texts, work, settings)
