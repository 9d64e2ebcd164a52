"""Requests of images to a server in this process, good and bad."""

import asyncio
import base64
import io
import struct
import zlib

import numpy as np
from asgi_calls import running
from PIL import Image

from ftjax import serving
from ftjax.serving.server.server_settings import ServerSettings

SETTINGS = ServerSettings(batch_sizes=(1, 4), latency_ms=1, max_bytes=100_000, max_inputs=8)


def served(made, settings=SETTINGS):
    from ftjax.serving.server.http_app import guarded_app
    from ftjax.serving.server.service import Service

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


def bomb(width, height):
    """A small PNG that says to be very large."""

    def chunk(kind, data):
        whole = kind + data
        return struct.pack('>I', len(data)) + whole + struct.pack('>I', zlib.crc32(whole))

    head = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b'\0' * 10_000_000, 9)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def bombs():
    """(what, bytes) of small files of other formats that say to be very large."""
    side = 60_000
    yield 'a GIF bomb', b'GIF89a' + struct.pack('<HH', side, side) + b'\xf0\0\0' + bytes(6) + b';'
    head = struct.pack('<IHHI', 70, 0, 0, 54)
    head += struct.pack('<IiiHHIIiiII', 40, side, side, 1, 24, *[0] * 6)
    yield 'a BMP bomb', b'BM' + head + bytes(16)
    size = struct.pack('>BHH', 8, side, side)
    frame = b'\xff\xc0' + struct.pack('>H', 11) + size + b'\x01\x01\x11\0'
    yield 'a JPEG bomb', b'\xff\xd8' + frame + b'\xff\xd9'
    tags = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (273, 200), (277, 1)]
    tags += [(278, side), (279, 50)]
    rows = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
    tiff = b'II*\0' + struct.pack('<IH', 8, len(tags)) + rows + bytes(4)
    yield 'a TIFF bomb', tiff.ljust(200, b'\0') + zlib.compress(bytes(10_000_000), 9)
    yield 'a PPM bomb', b'P6 %d %d 255\n' % (side, side) + bytes(100)
    whole = png(np.zeros((8, 8), np.uint8))
    words = b'zTXt' + b'Comment\0\0' + zlib.compress(bytes(60_000_000), 9)
    chunk = struct.pack('>I', len(words) - 4) + words + struct.pack('>I', zlib.crc32(words))
    yield 'a PNG with a comment without end', whole[:33] + chunk + whole[33:]


class Pickled:
    """Fails the test where anything unpickles it."""

    def __reduce__(self):
        return exec, ('raise SystemExit("a pickle was loaded")',)


def objects(save=np.save):
    """A file of NumPy with a pickle in it."""
    made = io.BytesIO()
    save(made, np.array([Pickled()], object))
    return made.getvalue()


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
    for what, data in bombs():
        yield what, encoded(data), json_kind, 422
    yield 'a pickle in an array', objects(), 'application/octet-stream', 422
    yield 'a pickle in a zip', objects(np.savez), 'image/png', 422
    yield (
        'five thousand digits',
        b'{"inputs": [{"pixels": [[%s]]}]}' % (b'9' * 5000),
        json_kind,
        422,
    )
    yield 'four hundred digits', b'{"inputs": [{"pixels": [[%s]]}]}' % (b'9' * 400), json_kind, 422
    yield 'below zero', {'inputs': [{'pixels': [[-1]]}]}, json_kind, 422
    yield 'no pixels', {'inputs': [{'pixels': []}]}, json_kind, 422
    yield 'an empty row', {'inputs': [{'pixels': [[]]}]}, json_kind, 422
    yield 'four axes', {'inputs': [{'pixels': [[[[1]]]]}]}, json_kind, 422
    yield 'truth', {'inputs': [{'pixels': [[True]]}]}, json_kind, 422
    yield 'no Unicode', b'{"inputs": ["\xff\xfe"]}', json_kind, 422
    yield 'many parts', *form(*[('image', b'')] * 300), 400
    yield 'DICOM', encoded(b'\0' * 128 + b'DICM'), json_kind, 415
    yield 'too many', {'inputs': [{'pixels': [[1]]}] * 9}, json_kind, 413
    yield 'too large', b'[' + b' ' * 100_001, json_kind, 413
    yield 'pickle as such', b'\x80\x04.', 'application/x-pickle', 415
    yield 'a form of nothing', b'--x--', 'multipart/form-data; boundary=y', 400
    yield 'a form of texts', *form_of_text(), 422


def form_of_text():
    body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n--x--\r\n'
    return body, 'multipart/form-data; boundary=x'
