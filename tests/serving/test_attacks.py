"""What means harm, to a server in this process: 4xx, and the next request is answered."""

import importlib.util

import pytest
from asgi_calls import post
from image_requests import pictures, poisoned, with_server

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
