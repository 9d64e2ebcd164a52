"""Exports pushed to a small hub on this machine: what arrives, and what is refused before."""

import base64
import functools
import http.server
import json
import shutil
import threading

import huggingface_hub
import pytest
from finished_runs import make_run

from ftjax.errors import UserError
from ftjax.export.weights import export_weights
from ftjax.pretrained.own_format import write_json

VISIBLE = {True: 'private', False: 'public'}
COMMIT = 'c0ffee' * 6 + 'c0ff'


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks when it makes and fills a repository."""

    server: 'Server'

    def log_message(self, *arguments):
        pass

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.headers.get('Authorization') != 'Bearer hf_good':
            return self.answer(401, {'error': 'Invalid credentials in Authorization header'})
        if not self.path.endswith('/whoami-v2'):
            return self.answer(404, {'error': 'Repository not found'})
        return self.answer(200, {'name': 'me', 'type': 'user', 'auth': {}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        path = self.path.partition('?')[0]
        if path.endswith('/repos/create'):
            self.server.created.append(json.loads(body))
            if self.server.forbids:
                return self.answer(403, {'error': 'You have no rights here'})
            return self.answer(200, {'url': f'{self.server.url}/org/net'})
        if '/preupload/' in path:
            files = [file['path'] for file in json.loads(body)['files']]
            return self.answer(200, {'files': [plain(name) for name in files]})
        if '/commit/' in path:
            rows = [json.loads(line) for line in body.splitlines()]
            files = [row['value'] for row in rows if row['key'] == 'file']
            self.server.files |= {f['path']: base64.b64decode(f['content']) for f in files}
            url = f'{self.server.url}/org/net/commit/{COMMIT}'
            return self.answer(200, {'commitUrl': url, 'commitOid': COMMIT})
        return self.answer(200, {'errors': [], 'warnings': []})  # validate-yaml


def plain(name):
    return {'path': name, 'uploadMode': 'regular', 'shouldIgnore': False, 'oid': None}


class Server(http.server.ThreadingHTTPServer):
    """What was asked of the hub."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Hub)
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.created, self.files, self.forbids = [], {}, False


@pytest.fixture
def hub(monkeypatch):
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    api = functools.partial(huggingface_hub.HfApi, endpoint=server.url)
    monkeypatch.setattr(huggingface_hub, 'HfApi', api)
    monkeypatch.setenv('HF_TOKEN', 'hf_good')
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pushed') / 'run'
    make_run(folder, 'vit', 'last:1')
    return folder


@pytest.mark.parametrize('private', [True, False])
def test_what_is_pushed_is_the_folder_with_card_and_plan(hub, run, private, tmp_path):
    folder = export_weights(run, tmp_path / 'out', push_to='org/net', private=private)
    (made,) = hub.created
    assert (made['organization'], made['name']) == ('org', 'net')
    wanted = {'private': private} if 'private' in made else {'visibility': VISIBLE[private]}
    assert wanted.items() <= made.items()
    assert hub.files == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert json.loads(hub.files['training_plan.json'])['strategy'] == 'last:1'
    card = hub.files['README.md'].decode()
    assert "ViTForImageClassification.from_pretrained('org/net')" in card
    assert '| embed .. block_00 | – |' not in card  # they have other numbers of leaves
    assert '| block_00 | – | all 16 | 0 |' in card
    assert '| block_01 | all 16 | – |' in card
    assert '| accuracy | ' in card and '95 % interval' in card


def test_without_a_token_nothing_is_exported(hub, run, monkeypatch, tmp_path):
    monkeypatch.delenv('HF_TOKEN')
    monkeypatch.setattr(huggingface_hub, 'get_token', lambda: None)
    with pytest.raises(UserError, match='wants a token; set HF_TOKEN, or log in once'):
        export_weights(run, tmp_path / 'out', push_to='org/net')
    monkeypatch.undo()
    assert not hub.created and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('address', ['net', 'org/net/x', '-/x', 'hf://org/net', 'org/', '../..'])
def test_an_address_of_another_form(hub, run, address, tmp_path):
    with pytest.raises(UserError, match='expected ORG/NAME'):
        export_weights(run, tmp_path / 'out', push_to=address)
    assert not (tmp_path / 'out').exists()


def test_a_token_that_the_hub_does_not_know_or_that_may_not_write(hub, run, monkeypatch, tmp_path):
    monkeypatch.setenv('HF_TOKEN', 'hf_bad')
    with pytest.raises(UserError, match='does not know the token; set HF_TOKEN'):
        export_weights(run, tmp_path / 'out', push_to='org/net')
    assert not (tmp_path / 'out').exists()
    monkeypatch.setenv('HF_TOKEN', 'hf_good')
    hub.forbids = True
    with pytest.raises(UserError, match='token may not write to org/net'):
        export_weights(run, tmp_path / 'out', push_to='org/net')
    assert (tmp_path / 'out' / 'model.safetensors').exists()  # pushing can be tried again
    assert not hub.files


def test_a_hub_out_of_reach(hub, run, tmp_path):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(UserError, match='push_to_hub=org/net: the hub cannot be reached'):
        export_weights(run, tmp_path / 'out', push_to='org/net')


def test_adapters_are_pushed_alone_only_where_the_hub_has_their_network(hub, tmp_path):
    make_run(tmp_path / 'run', 'bert', 'lora:2')
    with pytest.raises(UserError, match=r'on no hub .*--adapters=merged'):
        export_weights(tmp_path / 'run', tmp_path / 'out', adapters='peft', push_to='org/net')
    assert not hub.created and not (tmp_path / 'out').exists()
    again = shutil.copytree(tmp_path / 'run', tmp_path / 'again')
    config = json.loads((again / 'config.json').read_text())
    write_json(again / 'config.json', {**config, 'init': 'hf://org/base@abc'})
    export_weights(again, tmp_path / 'out', adapters='peft', push_to='org/net')
    assert {'adapter_model.safetensors', 'training_plan.json'} <= hub.files.keys()
    assert "PeftModel.from_pretrained(base, 'org/net')" in hub.files['README.md'].decode()
