"""hf:// against a small hub on this machine: cached, offline, headers alone, errors in a line."""

import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.export.huggingface import save_huggingface
from ftjax.leaves import unflatten
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.locate.hub import has_weights, parse

COMMIT = 'c0ffee' * 6 + 'c0ff'
NETWORK = build('resnet_bn_cifar', {'depth': 8, 'width': 32, 'num_classes': 3})


@pytest.fixture(scope='module')
def toy_net(tmp_path_factory):
    leaves = {k: jnp.ones(leaf.shape, jnp.float32) for k, leaf in leaf_shapes(NETWORK).items()}
    folder = save_huggingface(
        tmp_path_factory.mktemp('toy_net'),
        NETWORK,
        unflatten(leaves),
        Preprocessing(image_size=(32, 32)),
        ('a', 'b', 'c'),
    )
    (folder / 'pytorch_model.bin').write_bytes(b'pickle')
    return folder


@pytest.fixture
def hub(toy_net):
    """(address, requests): what huggingface_hub asks a hub for, answered."""
    requests: list[tuple[str, str, int]] = []  # method, path, bytes sent
    files = {file.name: file.read_bytes() for file in toy_net.iterdir()}
    listed = [*files, *(f'inner/{name}' for name in files)]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *arguments):
            pass

        def answer(self, status, body=b'', **headers):
            self.send_response(status)
            headers.setdefault('Content-Length', str(len(body)))
            for key, value in headers.items():
                self.send_header(key.replace('_', '-'), value)
            self.end_headers()
            sent = b'' if self.command == 'HEAD' else body
            self.wfile.write(sent)
            requests.append((self.command, self.path, len(sent)))

        def do_GET(self):
            parts = self.path.partition('?')[0].strip('/').split('/')
            if parts[:5] == ['api', 'models', 'toy', 'net', 'tree']:
                rows = [
                    {'type': 'file', 'path': name, 'size': len(files[file]), 'oid': 'e' * 40}
                    for name in listed
                    for file in (name.removeprefix('inner/'),)
                ]
                return self.answer(200, json.dumps(rows).encode())
            if parts[:4] == ['api', 'models', 'toy', 'net']:
                if len(parts) > 4 and parts[4:] not in (['revision', 'main'], ['revision', COMMIT]):
                    return self.answer(404, X_Error_Code='RevisionNotFound')
                siblings = [{'rfilename': name} for name in listed]
                info = {'id': 'toy/net', 'modelId': 'toy/net', 'sha': COMMIT, 'siblings': siblings}
                info |= {'tags': [], 'private': False, 'downloads': 0, 'likes': 0}
                return self.answer(200, json.dumps(info).encode())
            if parts[:3] == ['toy', 'net', 'resolve'] and parts[-1] in files:
                body = files[parts[-1]]
                etag = f'"{hashlib.sha256(body).hexdigest()}"'
                facts = {'ETag': etag, 'X-Repo-Commit': COMMIT, 'Accept-Ranges': 'bytes'}
                if run_length := self.headers.get('Range'):
                    first, last = run_length.removeprefix('bytes=').split('-')
                    body = body[int(first) : int(last) + 1 if last else None]
                    return self.answer(206, body, **facts)
                return self.answer(200, body, **facts)
            code = 'EntryNotFound' if parts[:2] == ['toy', 'net'] else 'RepoNotFound'
            return self.answer(404, X_Error_Code=code)

        do_HEAD = do_GET

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with contextlib.closing(server.socket):
        yield f'http://127.0.0.1:{server.server_port}', requests
        server.shutdown()


def run(code, home, endpoint, **environment):
    """Runs code in a process of its own: huggingface_hub reads its settings when imported."""
    names = {'HF_HOME': str(home), 'HF_ENDPOINT': endpoint, 'JAX_PLATFORMS': 'cpu'}
    names |= {'HF_HUB_DISABLE_XET': '1', 'HF_HUB_DISABLE_TELEMETRY': '1', 'no_proxy': '127.0.0.1'}
    kept = {key: value for key, value in os.environ.items() if not key.startswith('HF_')}
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**kept, **names, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LOAD = """
import json
from ftjax.errors import UserError
from ftjax.pretrained.open import load_pretrained
out = {'errors': []}
try:
    found = load_pretrained('hf://toy/net')
    out |= {'head': found.report.head, 'revision': found.revision, 'names': found.class_names}
    out['sum'] = float(found.variables['params']['stem']['conv']['kernel'].sum())
    inner = load_pretrained('hf://toy/net/inner')
    out |= {'inner': inner.revision}
    out['inner_sum'] = float(inner.variables['params']['stem']['conv']['kernel'].sum())
except UserError as error:
    out['errors'].append(str(error))
for init in ('hf://toy/net@v9', 'hf://toy/other', 'hf://toy/net/outer'):
    try:
        load_pretrained(init)
    except UserError as error:
        out['errors'].append(str(error))
print(json.dumps(out))
"""

INSPECT = """
import json
from ftjax.pretrained.inspection import inspect
found = inspect('hf://toy/net')
print(json.dumps([sum(found.parameters.values()), found.source, found.report.head]))
"""


def test_a_repository_is_fetched_once_and_then_opened_offline(hub, tmp_path):
    endpoint, requests = hub
    found = run(LOAD, tmp_path, endpoint)
    assert (found['head'], found['revision']) == ('kept', COMMIT)
    assert found['names'] == ['a', 'b', 'c']
    assert found['sum'] == np.prod((3, 3, 3, 32))
    assert "no revision 'v9'" in found['errors'][0]
    assert 'no such repository' in found['errors'][1]
    assert 'no files in outer' in found['errors'][2]
    assert (found['inner'], found['inner_sum']) == (COMMIT, found['sum'])
    assert not any('pytorch_model.bin' in path for _, path, _ in requests)
    requests.clear()
    offline = run(LOAD, tmp_path, endpoint, HF_HUB_OFFLINE='1')
    assert offline['sum'] == found['sum']
    assert offline['revision'] == COMMIT
    assert offline['inner_sum'] == found['sum']
    assert all('HF_HUB_OFFLINE' in error for error in offline['errors'][:2])
    assert not requests


def test_offline_and_not_cached_is_one_line(tmp_path):
    found = run(LOAD, tmp_path, 'http://127.0.0.1:9', HF_HUB_OFFLINE='1')
    assert 'not in the local cache' in found['errors'][0]
    assert all('\n' not in error for error in found['errors'])


def test_inspection_fetches_headers_only(hub, toy_net, tmp_path):
    endpoint, requests = hub
    total, source, head = run(INSPECT, tmp_path, endpoint)
    weights = (toy_net / 'model.safetensors').stat().st_size
    asked = sum(sent for _, path, sent in requests if 'model.safetensors' in path)
    assert 0 < asked < weights / 5
    assert total == sum(
        np.prod(leaf.shape) for k, leaf in leaf_shapes(NETWORK).items() if k.startswith('params/')
    )
    assert (source, head) == (f'hf://toy/net ({COMMIT})', 'kept')


def test_a_download_that_was_interrupted_is_not_whole(tmp_path):
    shards = [f'model-0000{number}-of-00002.safetensors' for number in (1, 2)]
    (tmp_path / shards[0]).write_bytes(b'')
    assert not has_weights(tmp_path)  # the index is not there yet
    index = {'weight_map': dict(zip('ab', shards, strict=True))}
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(index))
    (tmp_path / shards[1]).symlink_to(tmp_path / 'unfinished')
    assert not has_weights(tmp_path)
    (tmp_path / 'unfinished').write_bytes(b'')
    assert has_weights(tmp_path)


@pytest.mark.parametrize(
    'address, parts',
    [
        ('hf://google/vit', ('google/vit', None, '')),
        ('hf://google/vit@refs/pr/3', ('google/vit', 'refs/pr/3', '')),
        ('hf://gpt2', ('gpt2', None, '')),
        ('hf://a/b/c/d@v1', ('a/b', 'v1', 'c/d')),
    ],
)
def test_addresses(address, parts):
    assert parse(address) == parts


@pytest.mark.parametrize('address', ['hf://', 'hf://a/b/', 'hf:///b', 'hf://a/', 'hf://a/b/../c'])
def test_wrong_addresses(address):
    with pytest.raises(UserError, match='expected hf://ORG/NAME'):
        parse(address)


@pytest.mark.parametrize('address', ['hf://a/b@', 'hf://a/b@ ', 'hf://a/b/c@'])
def test_an_empty_revision_is_no_newest_one(address):
    with pytest.raises(UserError, match='nothing stands after @; expected a branch'):
        parse(address)
