"""A trained network answers with the code of its run, or says that it does not."""

import json
import shutil

import jax
import pytest

import ftjax
from ftjax import registry
from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.export.finished_run import open_finished
from ftjax.io.identity import own_parts
from ftjax.models.registry import build, options_of
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.own_format import save_own
from ftjax.runs.own_code import code_of, how_code_differs
from ftjax.runs.prediction.trained import open_trained

PIXELS = Preprocessing(image_size=(8, 8), mean=(0.5,), std=(0.5,), channels=1)


@pytest.fixture
def file(tmp_path, monkeypatch, repository):
    """A network of one's own, and a schedule, as parts of this test alone."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    for kind in ('model', 'family', 'schedule'):
        monkeypatch.setitem(registry.PARTS, kind, dict(registry.parts(kind)))
    monkeypatch.setattr(registry, 'FILES', {})
    monkeypatch.setattr(own_parts, '_NAMED', set())
    made = tmp_path / 'mine.py'
    shutil.copy(repository / 'tests' / 'extending' / 'own_model.py', made)
    with made.open('a') as text:
        text.write(
            "\n\n@register('schedule', 'mine')\ndef mine(settings, done, step, total):\n"
            '    return 1.0\n'
        )
    own_parts.run_file(made)
    return made


def changed(file, old, new):
    """The file again, with something else in it, as it was imported from elsewhere before."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    own_parts.run_file(file)


@pytest.fixture
def run(tmp_path, file):
    """What a finished run leaves, with weights that are drawn."""
    folder = tmp_path / 'run'
    network = build('dense_pair', {'num_classes': 2})
    variables = jax.jit(network.init)(jax.random.key(0), network.example_input())
    values = {'init': '', 'model': {'name': 'dense_pair'}, 'schedule': {'name': 'mine'}}
    config = read_config({**values, 'data': {'source': 'digits'}})
    folder.mkdir()
    (folder / 'config.json').write_text(json.dumps(config.to_json()))
    save_own(folder / 'model', network, variables, PIXELS, ('a', 'b'))
    own_parts.remember(folder, config.to_json())
    result = {'identity': {'code': code_of(config, network)}, 'metrics': {}}
    (folder / 'result.json').write_text(json.dumps(result))
    (folder / 'plan.json').write_text('{}')
    return folder


OPENERS = {
    'open_trained': lambda run, **given: open_trained(str(run), **given),
    'load': lambda run, **given: ftjax.load(str(run), **given),
    'model': lambda run, **given: open_trained(str(run / 'model'), **given),
}


@pytest.mark.parametrize('name', OPENERS)
def test_another_network_of_the_name_does_not_answer_for_a_run(run, file, name):
    OPENERS[name](run)
    changed(file, 'nn.relu', 'nn.gelu')
    with pytest.raises(UserError, match=r'network DensePair differs .*--allow_code_change'):
        OPENERS[name](run)
    opened = OPENERS[name](run, allow_code_change=True)
    trained = getattr(opened, 'trained', opened)
    assert 'the code of network DensePair differs' in trained.code_changed
    assert trained.code_changed in trained.warnings()[0]


def test_an_export_is_refused_too(run, file):
    changed(file, 'nn.relu', 'nn.gelu')
    with pytest.raises(UserError, match='network DensePair differs'):
        open_finished(run)
    open_finished(run, allow_code_change=True)


def test_how_it_was_trained_does_not_matter_to_answers(run, file):
    changed(file, 'return 1.0', 'return 0.5')
    trained = open_trained(str(run))
    assert not trained.warnings()
    assert how_code_differs(run, trained.network) == 'the code of schedule mine differs'


def test_a_file_that_is_named_counts_without_a_run(run, file, tmp_path):
    """A folder that `save` wrote says no file."""
    saved = shutil.move(run / 'model', tmp_path / 'saved')
    del registry.PARTS['model']['dense_pair']
    with pytest.raises(UserError, match="unknown model 'dense_pair'"):
        open_trained(str(saved))
    assert open_trained(str(saved), (str(file),)).network.num_classes == 2


FIELDS = """


class Fields(DensePair):
    sides: tuple = ((1, 2), (3, 4))
    act: object = {act}


register('model', 'fields')(Fields)
"""


def test_fields_come_back_from_a_file_or_are_refused(tmp_path, file):
    with file.open('a') as text:
        text.write(FIELDS.format(act="'relu'"))
    own_parts.run_file(file)
    name, options = json.loads(json.dumps(options_of(build('fields'))))
    again = build(name, options)
    assert again.sides == ((1, 2), (3, 4)) and hash(again) == hash(build('fields'))
    for value in ('nn.relu', 'jnp.float32'):
        before = file.read_text().partition('\n\n\nclass Fields')[0]
        file.write_text(before + FIELDS.format(act=value))
        own_parts.run_file(file)
        with pytest.raises(UserError, match=r"model 'fields': act is .* by name"):
            build('fields')
        with pytest.raises(UserError, match=r"model 'fields': act is .* by name"):
            options_of(registry.PARTS['model']['fields'].function())
