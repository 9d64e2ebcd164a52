"""What means harm, to a server in this process: 4xx, and the next request is answered."""

import asyncio
import dataclasses
import importlib.util
import json
import threading
import time

import pytest
from asgi_calls import call, post
from image_requests import SETTINGS, form, pictures, png, poisoned, with_server

from ftjax.errors import UserError
from ftjax.serving.server import request_inputs
from ftjax.serving.server import service as service_module
from ftjax.serving.server.server_settings import ServerSettings

needed = ('fastapi', 'uvicorn', 'prometheus_client', 'orjson', 'multipart')
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in needed), reason='needs the extra serve'
)


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


PATHS = (
    *(
        '/../../etc/passwd',
        '/docs/../../../etc/passwd',
        '//etc/passwd',
        '/%2e%2e/%2e%2e/etc/passwd',
    ),
    *('/v1/models/../../bundle.json', '/v1/models/0/model.safetensors', '/..\\..\\windows', '/\0'),
    *('/metrics/\xff', '/' + 'a' * 20_000, '/static/app.js', '/v1/predict/', '/V1/PREDICT'),
)


def test_a_path_leads_to_no_file(images):
    async def work(service, app):
        for path in PATHS:
            for method in ('GET', 'POST', 'PUT', 'DELETE'):
                status, headers, body = await call(app, path, method=method)
                assert status in (404, 405, 307), (path, status)
                if status != 307:
                    assert json.loads(body)['error']['code'] in ('not_found', 'method_not_allowed')
                assert b'root:' not in body and headers['x-request-id']
        text = (await call(app, '/metrics'))[2].decode()
        assert 'passwd' not in text and 'path="other"' in text

    with_server(images, work)


def test_names_of_files_and_of_requests_name_nothing_here(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body, kind = form(('image', png(pictures(1)[0])))
    body = body.replace(b'filename="', b'filename="../../../../tmp/')
    assert b'/tmp/' in body

    async def work(service, app):
        for name in ('../../x', 'a b', 'x' * 65, 'a/b', ''):
            status, headers, _ = await call(
                app, '/v1/predict', body, kind=kind, headers=[('X-Request-Id', name)]
            )
            assert (status, len(headers['x-request-id'])) == (200, 32), name

    with_server(images, work)
    assert not list(tmp_path.iterdir())


def test_a_body_that_comes_too_slowly_is_given_up(images):
    async def work(service, app):
        began = time.monotonic()
        status, answer = await slowly(app)
        assert (status, answer['error']['code']) == (408, 'too_slow')
        assert 0.2 < time.monotonic() - began < 3
        assert app.held == 0
        assert (await post(app, {'inputs': [{'pixels': [[1]]}]}))[0] == 200

    with_server(images, work, dataclasses.replace(SETTINGS, timeout=0.3))


@pytest.mark.parametrize('kind', ['application/json', 'multipart/form-data; boundary=x'])
def test_a_client_that_goes_away_while_it_sends_is_no_fault(images, caplog, kind):
    caplog.set_level('INFO', 'ftjax.serving.requests')

    async def work(service, app):
        gone = [{'type': 'http.disconnect'}]
        assert await slowly(app, b'--x\r\n', gone, kind) is None
        assert app.held == 0
        return (await call(app, '/metrics'))[2].decode()

    text = with_server(images, work)
    assert 'ftjax_requests_total{path="/v1/predict",status="499"} 1.0' in text
    assert 'fault' not in caplog.text
    assert not [r for r in caplog.records if r.levelname == 'ERROR']


async def slowly(app, first=b'{"inputs": [', then=(), kind='application/json'):
    """A request of which half comes, and messages after it: the other half never does."""
    waiting, sent = [*then, {'type': 'http.request', 'body': first, 'more_body': True}], []

    async def receive():
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop()

    async def send(message):
        sent.append(message)

    headers = [(b'content-type', kind.encode())]
    scope = {'type': 'http', 'method': 'POST', 'path': '/v1/predict', 'headers': headers}
    scope |= {'query_string': b'', 'http_version': '1.1', 'root_path': '', 'scheme': 'http'}
    await app(scope, receive, send)
    return (sent[0]['status'], json.loads(sent[1]['body'])) if sent else None


def test_many_large_bodies_at_once_are_bounded_together(images):
    settings = dataclasses.replace(SETTINGS, timeout=0.5, max_held=150_000)

    async def work(service, app):
        large = b'{"inputs": [' + b' ' * 80_000
        first = asyncio.create_task(slowly(app, large))
        await asyncio.sleep(0.05)
        assert app.held == len(large)
        status, answer = await slowly(app, large)
        assert (status, answer['error']['code']) == (429, 'too_many_requests')
        assert (await post(app, {'inputs': [{'pixels': [[1]]}]}))[0] == 200
        assert (await first)[0] == 408
        assert app.held == 0

    with_server(images, work, settings)
    with pytest.raises(UserError, match='never holds'):
        ServerSettings(max_held=1000)


def test_outputs_without_end_are_not_written_as_json(images, monkeypatch):
    async def work(service, app):
        asked = {'inputs': [{'pixels': [[1]]}], 'outputs': True}
        assert (await post(app, asked))[0] == 200
        monkeypatch.setattr(service_module, 'MOST_OUTPUTS', 2)
        status, answer = await post(app, asked)
        assert (status, answer['error']['input']) == (422, 0)
        assert 'outputs are 3 numbers' in answer['error']['message']
        assert (await post(app, {**asked, 'outputs': False}))[0] == 200

    with_server(images, work)


def test_large_json_is_read_beside_the_loop(images, monkeypatch):
    seen, parse = [], request_inputs.parse_json

    def spied(body, *more):
        seen.append((len(body) >= request_inputs.LARGE, threading.current_thread()))
        return parse(body, *more)

    monkeypatch.setattr(request_inputs, 'parse_json', spied)

    async def work(service, app):
        for pixels in ([[1]], [[1] * 200] * 150):
            assert (await post(app, {'inputs': [{'pixels': pixels}]}))[0] == 200

    with_server(images, work)
    main = threading.main_thread()
    assert [(large, thread is main) for large, thread in seen] == [(False, True), (True, False)]
