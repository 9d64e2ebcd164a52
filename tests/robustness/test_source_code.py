"""Code of the user's own is known by what it does: every change counts, comments do not."""

import functools
import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import textwrap

import pytest

from ftjax import registry
from ftjax.io.identity import code_places
from ftjax.io.identity.identity_changes import differences
from ftjax.io.identity.source_code import code_identity
from ftjax.io.process import provenance
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


@pytest.mark.parametrize('form', ['own_pkg/net.py', 'own_net.py'])
def test_an_installed_package_counts_where_the_thing_is_of_it(form, tmp_path, monkeypatch):
    """A network in site-packages; other packages that it uses are left out."""
    monkeypatch.setattr(code_places.site, 'getsitepackages', lambda: [str(tmp_path)])
    monkeypatch.syspath_prepend(tmp_path)
    place, name = tmp_path / form, form.removesuffix('.py').replace('/', '.')
    place.parent.mkdir(exist_ok=True)
    found = {}
    for line in ('return x * 2', 'return x * 3', 'return x * 2  # again'):
        (tmp_path / 'other_pkg.py').write_text(f'def turn(x):\n    {line}\n')
        for text in ('return x', 'return -x'):
            place.write_text(
                f'import other_pkg\n\n\nclass Net:\n    def run(self, x):\n        {text}\n\n'
                '    def other(self, x):\n        return other_pkg.turn(x)\n'
            )
            for each in ('other_pkg', 'own_pkg', name):
                monkeypatch.delitem(sys.modules, each, raising=False)
            importlib.invalidate_caches()
            monkeypatch.setattr(sys, 'dont_write_bytecode', True)
            for cached in (code_places.installed, code_places.foreign):
                cached.cache_clear()
            made = code_identity({'network': importlib.import_module(name).Net()})
            found.setdefault(text, []).append(made['parts'])
            assert list(made['files']) == [place.name]
    for cached in (code_places.installed, code_places.foreign):
        monkeypatch.undo()
        cached.cache_clear()
    for same in found.values():
        assert same[0] == same[1] == same[2]
    assert found['return x'] != found['return -x']


def test_packages_whose_versions_are_recorded_are_left_out():
    by_module = importlib.metadata.packages_distributions()
    known = {name for module in code_places.RECORDED for name in by_module.get(module, ())}
    installed = {name.lower() for names in by_module.values() for name in names}
    assert {n for n in provenance.PACKAGES if n in installed} <= {n.lower() for n in known}


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


RULES = """
import functools
import math
import re

import jax
import numpy as np

PATTERN = re.compile('a+')
CUT = np.maximum
CURVE = math.sin
STEPS = range(3)


class Left:
    pass


class Right:
    pass


def one(x):
    return x


def two(x):
    return x


EVERY = {one, two}
KINDS = {Left, Right}


def scaled(function):
    @functools.wraps(function)
    def scaled_by(x):
        return 2.0 * function(x)

    return scaled_by


@jax.custom_vjp
def reversed(x):
    return x


def forward(x):
    return x, None


def backward(_, gradient):
    return (-gradient,)


reversed.defvjp(forward, backward)


@jax.custom_jvp
def stepped(x):
    return x


stepped.defjvps(lambda gradient, answer, x: 3.0 * gradient)


@jax.jit
@scaled
def network(x):
    used = PATTERN, CUT, CURVE, STEPS, EVERY, KINDS
    return stepped(reversed(x)), used
"""


def of_network(source, name='rules'):
    space = {'__name__': f'no_such_module_{name}'}
    exec(compile(source, f'{name}.py', 'exec'), space)
    return code_identity({'network': space['network']})


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('(-gradient,)', '(-5 * gradient,)'),
        ('3.0 * gradient', '4.0 * gradient'),
        ('2.0 * function', '3.0 * function'),
        ("'a+'", "'b+'"),
        ('np.maximum', 'np.minimum'),
        ('math.sin', 'math.cos'),
        ('range(3)', 'range(4)'),
        ('return x\n\n\nEVERY', 'return -x\n\n\nEVERY'),
    ],
)
def test_what_is_not_in_the_function_itself_counts(old, new):
    assert RULES.count(old) == 1
    known = of_network(RULES)['parts']
    assert of_network(RULES)['parts'] == of_network(RULES, 'renamed')['parts'] == known
    assert of_network(RULES.replace(old, new))['parts'] != known


FILLED = """
CACHE = {}
TABLE = None


class Store:
    def __init__(self):
        self.seen = []


STORE = Store()


def table():
    global TABLE
    TABLE = TABLE or [1.0, 2.0]
    return TABLE


def source(argument):
    CACHE[argument] = len(table())
    STORE.seen.append(argument)
    return CACHE, TABLE
"""


def test_what_code_fills_as_it_runs_does_not_count():
    space = {'__name__': 'no_such_module'}
    exec(compile(FILLED, 'filled.py', 'exec'), space)
    before = code_identity({'source': space['source']})
    space['source']('a')
    assert space['TABLE'] and space['CACHE'] and space['STORE'].seen
    assert code_identity({'source': space['source']}) == before
    space['CACHE'] = {'b': 1}  # another one, of a cell of a notebook
    assert code_identity({'source': space['source']}) != before


def test_a_part_counts_as_it_was_before_it_ran(monkeypatch):
    known = []
    for ask in (False, True):
        monkeypatch.setitem(registry.PARTS, 'source', dict(registry.parts('source')))
        space = {'__name__': 'no_such_module'}
        exec(compile(FILLED, 'filled.py', 'exec'), space)
        registry.register('source', 'filled')(space['source'])
        if ask:
            registry.find('source', 'filled').function('a')
        known.append(code_identity({'source': space['source']}))
    assert known[0] == known[1]


def test_hashes_by_other_rules_are_not_held_against_one_another():
    new = {'code': of_network(RULES)}
    old = {'code': {**new['code'], 'parts': {'network': 'x'}, 'files': {'mine.py': 'a'}}}
    assert differences(old, new)['code'] == ['the code of network']
    del old['code']['rules']
    assert differences(old, new) == {}
    new['code']['files'] = {'mine.py': 'b', 'further.py': 'c'}
    assert differences(old, new)['code'] == ['the code of mine.py']
