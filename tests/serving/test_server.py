"""The server in this process: answers, limits, poisoned requests, readiness, the token."""

import asyncio
import base64
import importlib.util
import io
import json
import shlex
import struct
import zlib

import numpy as np
import pytest
from asgi_calls import call, post, running
from PIL import Image

from ftjax import serving
from ftjax.errors import UserError
from ftjax.serving.bundle.answer_rows import answer_rows
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.server.api_page import curl_of
from ftjax.serving.server.http_app import guarded_app
from ftjax.serving.server.server_settings import ServerSettings, read_token
from ftjax.serving.server.service import Service

needed = ('fastapi', 'uvicorn', 'prometheus_client', 'orjson', 'multipart')
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in needed), reason='needs the extra serve'
)
SETTINGS = ServerSettings(batch_sizes=(1, 4), latency_ms=1, max_bytes=100_000, max_inputs=8)


def served(made, settings=SETTINGS):
    service = Service(serving.load(made.bundle, goldens=False), settings)
    return service, guarded_app(service)


def with_server(made, work, settings=SETTINGS):
    """Runs `work(service, app)` while a service is ready."""

    async def whole():
        service, app = served(made, settings)
        async with running(service):
            return await work(service, app)

    return asyncio.run(whole())


def png(pixels):
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, 'png')
    return made.getvalue()


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8), np.uint8)


def form(*files):
    edge, parts = b'x7f3', b''
    for name, data in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="a.png"\r\n'
        parts += b'--' + edge + b'\r\n' + head.encode() + b'\r\n' + data + b'\r\n'
    return parts + b'--' + edge + b'--\r\n', 'multipart/form-data; boundary=x7f3'


def test_answers_are_the_bundles_bit_for_bit_at_the_same_padded_batch(images):
    pixels = pictures(4)
    direct = serving.load(images.bundle, goldens=False)
    expected = {}
    for count, size in ((1, 1), (3, 4), (4, 4)):
        found = direct.run({'images': pixels[:count, ..., None]}, size).outputs
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

    with_server(images, work)


def bomb(width, height):
    """A small PNG that says to be very large."""

    def chunk(kind, data):
        whole = kind + data
        return struct.pack('>I', len(data)) + whole + struct.pack('>I', zlib.crc32(whole))

    head = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b'\0' * 10_000_000, 9)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def encoded(data):
    return {'inputs': [{'image': base64.b64encode(data).decode()}]}


def poisoned():
    """(what, body, kind, status)."""
    json_kind = 'application/json'
    yield 'not JSON', b'{', json_kind, 422
    yield 'deep', b'[' * 5000, json_kind, 422
    yield 'NaN', b'{"inputs": [{"pixels": [[NaN]]}]}', json_kind, 422
    yield 'infinite', b'{"inputs": [{"pixels": [[1e999]]}]}', json_kind, 422
    yield 'twice', b'{"inputs": [], "inputs": [1]}', json_kind, 422
    yield 'no object', b'[1]', json_kind, 422
    yield 'nothing', {'inputs': []}, json_kind, 422
    yield 'other field', {'inputs': [1], 'neerest': 1}, json_kind, 422
    yield 'ragged', {'inputs': [{'pixels': [[1, 2], [3]]}]}, json_kind, 422
    yield 'fractions', {'inputs': [{'pixels': [[0.5]]}]}, json_kind, 422
    yield 'too bright', {'inputs': [{'pixels': [[256]]}]}, json_kind, 422
    yield 'a path', {'inputs': [{'image': '/etc/passwd'}]}, json_kind, 422
    yield 'a text', {'inputs': ['a text']}, json_kind, 422
    yield 'a bare number', {'inputs': [{'image': 7}]}, json_kind, 422
    yield 'five channels', {'inputs': [{'pixels': [[[1] * 5]]}]}, json_kind, 422
    yield 'no image', encoded(b'GIF89a but no'), json_kind, 422
    yield 'a zip', encoded(b'PK\x03\x04' + b'\0' * 100), json_kind, 422
    yield 'a pickle', encoded(b'\x80\x04.'), json_kind, 422
    yield 'cut short', encoded(png(pictures(1)[0])[:70]), json_kind, 422
    yield 'a bomb', encoded(bomb(100_000, 100_000)), json_kind, 422
    yield 'a large image', encoded(bomb(5000, 5000)), json_kind, 422
    yield 'DICOM', encoded(b'\0' * 128 + b'DICM'), json_kind, 415
    yield 'too many', {'inputs': [{'pixels': [[1]]}] * 9}, json_kind, 413
    yield 'too large', b'[' + b' ' * 100_001, json_kind, 413
    yield 'pickle as such', b'\x80\x04.', 'application/x-pickle', 415
    yield 'a form of nothing', b'--x--', 'multipart/form-data; boundary=y', 400
    yield 'a form of texts', *form_of_text(), 422


def form_of_text():
    body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n--x--\r\n'
    return body, 'multipart/form-data; boundary=x'


def test_poisoned_requests_get_4xx_and_the_next_one_is_answered(images):
    good = {'inputs': [{'pixels': pictures(1)[0].tolist()}]}

    async def work(service, app):
        _, first = await post(app, good)
        for what, body, kind, status in poisoned():
            found, answer = await post(app, body, kind=kind)
            assert (found // 100, what) == (4, what), answer
            assert found == status or (what == 'a form of nothing' and found == 422), (what, answer)
            assert answer['error']['message']
            assert answer['error']['request_id']
        packed = await post(app, b'x', headers=[('Content-Encoding', 'gzip')])
        assert packed[0] == 415
        chunks = [b'[' + b' ' * 60_000, b' ' * 60_000]
        status, answer = await post(app, b'', parts=chunks)  # says no length
        assert (status, answer['error']['code']) == (413, 'too_large')
        _, again = await post(app, good)
        assert again['predictions'] == first['predictions']
        assert service.batcher.pending == 0

    with_server(images, work)


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
