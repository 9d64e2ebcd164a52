"""Code of the user's own is known by what it does: every change counts, comments do not."""

import functools
import importlib.util
import subprocess
import sys
import textwrap

import pytest

from ftjax.io.identity.source_code import code_identity
from ftjax.models.registry import build

SOURCE = """
import flax.linen as nn
import jax.numpy as jnp
from ftjax.models.stages import Network

SCALE = 2.0
WIDTHS = {'a': 3}


class Base(nn.Module):
    def shared(self, x):
        return x + 1


def helper(x):
    '''What it does.'''
    return jnp.tanh(x) * SCALE * WIDTHS['a']


def decorated(function):
    bound = 3

    def inner(x):
        return function(x) + bound

    return inner


@decorated
def inside(x):
    return x


class Layer(Base):
    width: int = 3

    @nn.compact
    def __call__(self, x, power=2):
        # a comment
        return [helper(y) for y in self.shared(inside(x)) ** power]

    @property
    def half(self):
        return self.width / 2
"""


def identity(source, name='own', width=3):
    """Of `Layer` in a module made of this source, as a config file or a notebook makes it."""
    space = {'__name__': f'no_such_module_{name}'}
    exec(compile(textwrap.dedent(source), f'{name}.py', 'exec'), space)
    return code_identity({'network': space['Layer'](width=width)})


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('jnp.tanh', 'jnp.cos'),
        ('SCALE = 2.0', 'SCALE = 2.5'),
        ("{'a': 3}", "{'a': 4}"),
        ('return x + 1', 'return x - 1'),
        ('bound = 3', 'bound = 4'),
        ('function(x) + bound', 'function(x) * bound'),
        ('power=2', 'power=3'),
        ('width / 2', 'width // 2'),
        ('class Layer(Base)', 'class Layer(nn.Module)'),
    ],
)
def test_every_change_of_what_it_uses_counts(old, new):
    assert old in SOURCE
    assert identity(SOURCE) != identity(SOURCE.replace(old, new))


def test_what_changes_nothing_does_not_count():
    known = identity(SOURCE)
    assert list(known['parts']) == ['network'] and known['python']
    assert identity('\n\n' + SOURCE.replace('a comment', 'another')) == known
    assert identity(SOURCE.replace('What it does.', 'In other words.')) == known
    assert identity(SOURCE, 'renamed')['parts'] != {}
    assert identity(SOURCE, width=4) == known  # fields stand in the config
    assert identity(SOURCE + '\n\ndef unused(x):\n    return x\n') == known


def test_code_that_comes_with_ftjax_or_python_is_left_out():
    network = build('vit', {'depth': 2, 'width': 8, 'heads': 2, 'image_size': 16})
    assert code_identity({'network': network, 'function': functools.lru_cache}) == {}


def test_own_modules_that_it_imports_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for line in ('return x', 'return -x'):
        (tmp_path / 'own_layers.py').write_text(f'LOW = 1\n\n\ndef turn(x):\n    {line}\n')
        (tmp_path / 'own_net.py').write_text(
            'import own_layers\n\n\ndef run(x):\n    return own_layers.turn(x)\n'
        )
        for name in ('own_layers', 'own_net'):
            spec = importlib.util.spec_from_file_location(name, tmp_path / f'{name}.py')
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, name, module)
            exec(compile((tmp_path / f'{name}.py').read_text(), spec.origin, 'exec'), vars(module))
        found.append(code_identity({'run': sys.modules['own_net'].run}))
    assert found[0]['parts'] != found[1]['parts']
    assert set(found[0]['files']) == {'own_net.py', 'own_layers.py'}


def test_it_is_the_same_in_every_process(tmp_path):
    file = tmp_path / 'own.py'
    file.write_text(
        'from ftjax.io.identity.source_code import code_identity\n'
        "NAMES = {'a', 'b', 'c'}\n\n\n"
        "def run(x):\n    return x in {'p', 'q', 'r'} or x in NAMES\n\n\n"
        "print(code_identity({'run': run}))\n"
    )
    known = {'PYTHONPATH': ':'.join(sys.path), 'FTJAX_CACHE': str(tmp_path)}
    said = {
        subprocess.run(
            [sys.executable, file],
            capture_output=True,
            text=True,
            check=True,
            env={**known, 'PYTHONHASHSEED': seed},
        ).stdout
        for seed in ('1', '2')
    }
    assert len(said) == 1 and "'run'" in said.pop()


def test_what_holds_itself_ends():
    loop: list = [1]
    loop.append(loop)

    def run(x):
        return run(x - 1) if x else loop

    assert code_identity({'run': run})['parts']['run']
