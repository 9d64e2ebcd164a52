"""A server that is closed while it gets ready, and how long a request may take; forms of texts."""

import asyncio
import dataclasses
import importlib.util
import threading
import time
import urllib.parse

import pytest
from asgi_calls import post, running
from image_requests import SETTINGS, served

from ftjax.serving.server import http_app
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.request_inputs import Asked, asked_of

needed = ('fastapi', 'uvicorn', 'prometheus_client', 'orjson', 'multipart')
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in needed), reason='needs the extra serve'
)


def test_a_server_that_is_closed_compiles_no_further_program(images, monkeypatch, caplog):
    began, go_on, compiled = threading.Event(), threading.Event(), []

    def compile_(bucket, size):
        compiled.append(size)
        began.set()
        assert go_on.wait(60)

    async def whole():
        settings = dataclasses.replace(SETTINGS, batch_sizes=(1, 2, 3, 4))
        service, _ = served(images, settings)
        monkeypatch.setattr(service.bundle, 'compile', compile_)
        service.start()
        assert await asyncio.to_thread(began.wait, 60)
        await service.close()
        go_on.set()
        await service._warming
        return service

    service = asyncio.run(whole())
    assert (compiled, service.ready, service.failed) == ([1], False, '')
    assert 'never ready' not in caplog.text


def test_the_time_of_a_request_counts_from_its_first_byte(images, monkeypatch):
    read = http_app.asked_of

    async def slowly(*given):
        asked = await read(*given)
        await asyncio.sleep(0.7)
        return asked

    async def whole():
        service, app = served(images, dataclasses.replace(SETTINGS, timeout=1.0))
        answers = service._answers

        async def later(*given):
            await asyncio.sleep(0.7)
            return await answers(*given)

        monkeypatch.setattr(service, '_answers', later)
        monkeypatch.setattr(http_app, 'asked_of', slowly)
        async with running(service):
            status, answer = await post(app, {'inputs': [{'pixels': [[1]]}]})
            assert (status, 'no answer within 1 s' in answer['error']['message']) == (504, True)
            with pytest.raises(Refusal, match='no answer within'):
                await service.answer(Asked(()), 'r', time.perf_counter() - 1)

    asyncio.run(whole())


@pytest.mark.parametrize('text', ['50%de desconto', '20 %ab morgen', '100% sure', 'für %C3%BC'])
def test_a_percent_sign_in_a_form_stands_for_itself(text):
    from starlette.requests import Request

    multipart = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
    multipart += text.encode() + b'\r\n--x--\r\n'
    encoded = urllib.parse.urlencode({'text': text}).encode()
    broken = multipart.replace(b'--x--', b'\xff--x--')

    def asked(kind, body):
        async def receive():
            return {'type': 'http.request', 'body': body, 'more_body': False}

        headers = [(b'content-type', kind.encode())]
        request = Request({'type': 'http', 'method': 'POST', 'headers': headers}, receive)
        return asyncio.run(asked_of(request, 'texts', SETTINGS)).inputs

    assert asked('multipart/form-data; boundary=x', multipart) == (text,)
    assert asked('application/x-www-form-urlencoded', encoded) == (text,)
    for kind, body in (
        ('multipart/form-data; boundary=x', broken),
        ('application/x-www-form-urlencoded', b'text=%ff'),
    ):
        with pytest.raises(Refusal, match='no UTF-8 text'):
            asked(kind, body)
