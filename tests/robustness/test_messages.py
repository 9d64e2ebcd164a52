"""What a mistake on the command line, or in a name, is answered: one line that says what to do."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import textwrap

import pytest

from ftjax.config import read_config, template
from ftjax.data.load import load_data
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.freezing.registry import parse
from ftjax.pretrained.locate.locate import locate

# Every case is a fork of one process, so that JAX is imported once.
FORKS = """
    import json, os, sys

    from ftjax.cli import launch
    from ftjax.config import read_config

    CONFIG = launch.define_config()
    launch.flags.DEFINE_integer('count', 1, 'A number.')
    launch.flags.DEFINE_string('workdir', '', 'A text.')


    def main():
        print(json.dumps(read_config(CONFIG.value).to_json()))


    for index, argv in enumerate(json.load(sys.stdin)):
        child = os.fork()
        if not child:
            for number, name in ((1, 'out'), (2, 'err')):
                os.dup2(os.open(f'{index}.{name}', os.O_WRONLY | os.O_CREAT), number)
            try:
                launch.run(main, ['script.py', *argv])
            except SystemExit as end:
                sys.stdout.flush()
                os._exit(end.code or 0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
CONFIG = """
    from ftjax.config import template


    def get_config(freeze='full'):
        config = template(init='', model={'name': 'vit'}, train={'patience': 3})
        config.freeze = {'strategy': 'last:2', 'norm': 'frozen'} if freeze == 'mapping' else freeze
        return config
"""
BASE = '--config=configs/base.py'
WRONG = (
    (['configs/base.py'], "unexpected argument 'configs/base.py'; did you mean --config=configs/"),
    (['base', BASE], "unexpected argument 'base'; flags are written --name=value"),
    ([BASE, '--workdir', 'x', 'configs/base.py'], "unexpected argument 'configs/base.py'"),
    ([], 'the flag --config is missing'),
    (
        ['--config=configs/bsae.py'],
        "no such config file: configs/bsae.py; did you mean 'configs/base",
    ),
    (
        ['--config=configs/nope.py'],
        'no such config file: configs/nope.py; there are configs/base.py',
    ),
    ([BASE, '--count=big'], "--count is 'big'; expected a whole number"),
    ([BASE, '--config.data.batch_size=big'], "is 'big'; expected a whole number, at least 1"),
    ([BASE, '--config.data.batch_size=4.5'], "is '4.5'; expected a whole number, at least 1"),
    ([BASE, '--config.data.batch_size=None'], "is 'None'; expected a whole number, at least 1"),
    ([BASE, '--config.optimizer.clip_norm=x'], "'x'; expected a number, above 0, or None"),
    ([BASE, '--config.train.remat=perhaps'], "'perhaps'; expected True or False"),
    ([BASE, '--config.seed=1.0'], '--config.seed is '),
    ([BASE, '--config.freeze.frozn_dtype=bfloat16'], "did you mean 'frozen_dtype'"),
    ([BASE, '--config.freeze.rewarm=x'], "rewarm is 'x'; expected a number of steps, at least 0"),
    ([BASE, '--config.freeze.frozen_dtype=int8'], 'bfloat16'),
    ([BASE, "--config.freeze={'strategy': "], 'expected a text such as last:2, or a mapping'),
    ([BASE, "--config.freeze={'stratgy': 'head'}"], "did you mean 'strategy'"),
    ([BASE, f'--config.data.seed={"9" * 5000}'], 'data.seed is '),
)


def freeze(**fields):
    return {'freeze': fields}


RIGHT = (
    ([BASE, '--config.train.patience=None'], {'train': {'patience': None}}),
    ([BASE, '--config.train.patience=none', '--workdir', 'x'], {'train': {'patience': None}}),
    ([BASE, '--config.data.examples_per_class=None'], {'data': {'examples_per_class': None}}),
    ([BASE, '--config.data.max_length=None'], {'data': {'max_length': None}}),
    ([BASE, '--config.data.augment=none'], {'data': {'augment': 'none'}}),
    ([BASE, '--config.mesh.data=None'], {'mesh': {}}),
    (
        [BASE, '--config.freeze.frozen_dtype=bfloat16'],
        freeze(strategy='full', frozen_dtype='bfloat16'),
    ),
    (
        [BASE, '--config.freeze=last:2', '--config.freeze.rewarm=3', '--config.freeze.norm=train'],
        freeze(strategy='last:2', rewarm=3, norm='train'),
    ),
    ([BASE, "--config.freeze.rules=[('.*', 'all')]"], freeze(rules=[['.*', 'all']])),
    ([BASE, '--config.freeze.decay_vectors=true'], freeze(decay_vectors=True)),
    (
        [BASE, "--config.freeze={'strategy': 'head', 'rewarm': 2}"],
        freeze(strategy='head', rewarm=2),
    ),
    ([BASE, '--config.freeze', 'last:2'], freeze(strategy='last:2')),
    (['--config=configs/base.py:mapping'], freeze(strategy='last:2', norm='frozen')),
    (
        ['--config=configs/base.py:mapping', '--config.freeze.frozen_dtype=bfloat16'],
        freeze(strategy='last:2', norm='frozen', frozen_dtype='bfloat16'),
    ),
    (
        ['--config=configs/base.py:mapping', '--config.freeze=head'],
        freeze(strategy='head', norm='auto'),
    ),
)


@pytest.fixture(scope='module')
def answers(tmp_path_factory, repository):
    """(exit code, stdout, stderr) of every command, in order."""
    folder = tmp_path_factory.mktemp('messages')
    (folder / 'configs').mkdir()
    (folder / 'configs' / 'base.py').write_text(textwrap.dedent(CONFIG))
    (folder / 'forks.py').write_text(textwrap.dedent(FORKS))
    commands = [argv for argv, _ in (*WRONG, *RIGHT)]
    done = subprocess.run(
        [sys.executable, 'forks.py'],
        input=json.dumps(commands),
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(repository)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    codes = list(map(int, done.stdout.split()))
    assert len(codes) == len(commands), done.stderr
    texts = [[(folder / f'{n}.{x}').read_text() for x in ('out', 'err')] for n in range(len(codes))]
    return [(code, *both) for code, both in zip(codes, texts, strict=True)]


@pytest.mark.parametrize(
    'number', range(len(WRONG)), ids=lambda n: ' '.join(WRONG[n][0])[:60] or '-'
)
def test_a_mistake_is_one_line(answers, number):
    code, out, err = answers[number]
    assert (code, out) == (2, ''), err
    assert err.startswith('error: ') and err.count('\n') == 1 and len(err) < 600, err
    assert WRONG[number][1] in err


@pytest.mark.parametrize('number', range(len(RIGHT)), ids=lambda n: ' '.join(RIGHT[n][0])[:60])
def test_what_is_meant_is_read(answers, number):
    code, out, err = answers[len(WRONG) + number]
    assert code == 0, err
    found = json.loads(out)
    for section, fields in RIGHT[number][1].items():
        if not fields:
            assert found[section] == fields
        assert {key: found[section][key] for key in fields} == fields


def test_a_mapping_may_be_given_for_freeze_after_the_template():
    config = template(freeze='last:2')
    config.freeze = {'strategy': 'head', 'frozen_dtype': 'bfloat16'}
    assert read_config(config).freeze.frozen_dtype == 'bfloat16'
    config.freeze = 'full'
    assert read_config(config).freeze.strategy == 'full'
    with pytest.raises(TypeError):
        config.freeze = 5


@pytest.mark.parametrize(
    ('text', 'right'),
    [('last2', 'last:2'), ('llrd_0.5', 'llrd:0.5'), ('lora8:4', 'lora:8,4'), ('hed', 'head')],
)
def test_a_strategy_without_its_colon_is_named_with_it(text, right):
    with pytest.raises(UserError, match=f"did you mean '{right}'"):
        parse(text)


@pytest.mark.parametrize(
    ('init', 'words'),
    [
        ('google/vit-base-patch16-224', "write 'hf://google/vit-base-patch16-224'"),
        ('gliphs', "did you mean 'glyphs'"),
        ('tests/missing', 'known: '),
        ('tests/pretrainde', "in tests, did you mean 'pretrained'?"),
        ('x' * 10_000, 'no pretrained network'),
        ('~nosuchuser/x', 'no pretrained network'),
        ('a\0b', 'no pretrained network'),
        ('hf://' + 'x' * 10_000, 'expected hf://ORG/NAME'),
        ('data:' + 'x' * 10_000, 'xxx'),
    ],
)
def test_a_network_that_is_not_there(init, words, repository, monkeypatch):
    monkeypatch.chdir(repository)
    with pytest.raises(UserError) as caught:
        locate(init)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600 and '\n' not in str(caught.value)


@pytest.mark.parametrize('kind', ['folder:', 'csv:', 'jsonl:', 'npz:', ''])
@pytest.mark.parametrize('path', ['x' * 10_000, '~nosuchuser/x', 'a\0b'])
def test_data_that_are_not_there(kind, path):
    with pytest.raises(UserError):
        load_data(DataSettings(source=kind + path))


COMPILE = """
    import os, signal, threading

    from ftjax.cli import launch


    def main():
        import jax

        def slow(x):
            for number in range(400):
                x = jax.numpy.sin(x @ x) + number
            return x

        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while True:
            jax.jit(slow).lower(jax.numpy.ones((8, 8))).compile()
            jax.clear_caches()


    launch.run(main)
"""


def test_a_signal_in_a_compilation_is_one_line(tmp_path, repository):
    # XLA crashed when the interpreter took itself apart after such an end.
    (tmp_path / 'script.py').write_text(textwrap.dedent(COMPILE))
    done = subprocess.run(
        [sys.executable, 'script.py'],
        cwd=tmp_path,
        env={
            **os.environ,
            'PYTHONPATH': str(repository),
            'JAX_COMPILATION_CACHE_DIR': str(tmp_path / 'programs'),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (143, 'error: stopped by SIGTERM\n')


@pytest.mark.slow
def test_the_printed_example_of_an_export_works(tmp_path, repository):
    text = pathlib.Path(repository / 'scripts' / 'export.py').read_text()
    printed = text.split('"""')[1].replace('\\\n', ' ')
    commands = re.findall(r'^ +python (scripts/.*)$', printed.replace('\\', ''), re.MULTILINE)
    outside = ('/serve.py', '--push_to_hub')  # one does not end, the other uploads
    commands = [line for line in commands if not any(word in line for word in outside)]
    assert len(commands) == 6
    few = ['--config.train.steps=2', '--config.data.examples_per_class=4']
    few += ['--config.data.val_per_class=1', '--config.data.test_fraction=0.02']
    for command in commands:
        words = [word.replace('runs/', f'{tmp_path}/') for word in shlex.split(command)]
        for made in ('exports', 'bundles'):
            words = [word.replace(f'={made}/', f'={tmp_path}/{made}/') for word in words]
        done = subprocess.run(
            [sys.executable, *words, *(few if 'train.py' in words[0] else [])],
            cwd=repository,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    for name in ('merged/model.safetensors', 'lora/adapter_model.safetensors'):
        assert (tmp_path / 'exports' / name).exists()


def test_an_early_stop_is_said(tmp_path):
    from ftjax.runs.prepare import prepare
    from ftjax.runs.run import train
    from ftjax.runs.training_summary import training_summary

    size = {'image_size': 16, 'patch_size': 8, 'width': 8, 'depth': 2, 'heads': 2}
    config = {
        'init': '',
        'model': {'name': 'vit', **size},
        'data': {'source': 'digits', 'examples_per_class': 3, 'batch_size': 10},
        'train': {'epochs': 10.0, 'patience': 1, 'cache': 'off', 'report': False},
        'optimizer': {'learning_rate': 1e-30},
        'freeze': 'last:1',
    }
    prepared = prepare(read_config(config))
    result = train(prepared, tmp_path)[1]
    assert result['stopped_early'] and result['steps'] == 6
    told = 'stopped early after 2 of 10 epochs: 1 validation without a better accuracy (train.pat'
    assert training_summary(prepared, result).startswith(told)


@pytest.mark.parametrize(
    ('kind', 'name', 'text', 'message'),
    [
        (
            'jsonl',
            'd.csv',
            'text,label\na,b\n',
            'd.csv line 1: no JSON .*; did you mean csv:.*d.csv',
        ),
        (
            'csv',
            'd.jsonl',
            '{"text": "a", "label": "b"}\n',
            'd.jsonl holds JSON lines; did you mean jsonl:',
        ),
        (
            'csv',
            'd.csv',
            'review,stars\na,b\n',
            r'name one of its columns, data.label_column=..; known: review, stars',
        ),
        (
            'csv',
            'd.csv',
            'text,labels\na,b\n',
            r"no column 'label' \(data.label_column\); did you mean 'labels'",
        ),
    ],
)
def test_a_table_of_another_kind_or_with_other_columns(tmp_path, kind, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        load_data(DataSettings(source=f'{kind}:{tmp_path / name}'))
