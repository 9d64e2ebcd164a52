"""The package as a whole: what it ships, what it needs, who may import whom."""

import ast
import collections
import doctest
import functools
import importlib
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
SOURCES = sorted((ROOT / 'ftjax').rglob('*.py'))
MODULES = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
    for path in SOURCES
]
KNOWN = frozenset(MODULES)

# From the ground up: each room imports only from itself and from those before it.
ROOMS = (
    'errors',
    'printable',
    'ranges',
    'field_types',
    'late_names',
    'pytrees',
    'leaves',
    'part_kinds',
    'part_arguments',
    'registry',
    'pages',
    'io',
    'models',
    'preprocessing',
    'pretrained',
    'data',
    'freezing',
    'optim',
    'distributed',
    'xla',
    'evaluation',
    'tasks',
    'plotting',
    'training',
    'config',
    'runs',
    'export',
    'serving',
    'ablation',
    'reproductions',
    'api',
    '__init__',
    'cli',
    '__main__',
)
# The same within the ablation room.
ABLATION = (
    'statistics',
    'networks',
    'rates',
    'budgets',
    'gates',
    'sequences',
    'retention',
    'settings',
    'engines',
    'grid',
    'racing',
    'cells',
    'summary',
    'report',
    'leaderboard',
    'publishing',
    'advice',
)
HEAVY = (
    'grain',
    'huggingface_hub',
    'matplotlib',
    'orbax',
    'pandas',
    'PIL',
    'rich',
    'scipy',
    'sklearn',
    'tensorflow',
    'tensorflow_datasets',
    'tokenizers',
    'torch',
)


@functools.cache
def tree_of(path):
    """The file as Python reads it, parsed once for all tests."""
    return ast.parse(path.read_text(encoding='utf-8'))


@pytest.fixture(scope='module', autouse=True)
def trees_are_let_go_of():
    """Millions of nodes: the garbage collector would walk through them in all later tests."""
    yield
    tree_of.cache_clear()


@functools.cache
def imported(path):
    """Names of the modules that a file imports, wherever in it."""
    names = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names += [node.module or '', *(f'{node.module}.{alias.name}' for alias in node.names)]
    return names


def room_of(path):
    parts = path.relative_to(ROOT / 'ftjax').with_suffix('').parts
    return parts[0]


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_lies_below_them(path):
    room = room_of(path)
    assert room in ROOMS, f'{room} is no room: add it to ROOMS in its place'
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for name in imported(path):
        parts = name.split('.')
        if parts[0] == 'ftjax' and len(parts) > 1:
            assert parts[1] in allowed, f'{path.name} imports {name}, which lies above {room}'


def test_parts_of_the_ablation_import_only_what_lies_below_them():
    folder = ROOT / 'ftjax' / 'ablation'
    for path in sorted(folder.rglob('*.py')):
        part = path.relative_to(folder).with_suffix('').parts[0]
        if part == '__init__':
            continue
        assert part in ABLATION, f'{part} is no part of the ablation: add it in its place'
        allowed = ABLATION[: ABLATION.index(part) + 1]
        for name in imported(path):
            parts = name.split('.')
            if parts[:2] == ['ftjax', 'ablation'] and len(parts) > 2:
                assert parts[2] in allowed, f'{path.name} imports {name}, which lies above {part}'


def test_the_list_of_slow_tests_names_tests():
    lines = (ROOT / 'tests' / 'slow_tests.txt').read_text().splitlines()
    for line in lines:
        if not line.startswith('#'):
            file, _, name = line.partition('::')
            assert f'def {name.partition("[")[0]}(' in (ROOT / file).read_text(), line


def imported_to_run(path):
    """Names of the modules that a file imports, in functions too; not those for types alone."""
    tree = tree_of(path)
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = [f'{node.module}.{alias.name}' for alias in node.names]
            # A module out of a package needs that module, not what else the package holds.
            yield from (each if each in KNOWN else node.module or '' for each in inside)


def test_no_circle_of_modules():
    graph = {name: {*imported_to_run(path)} for name, path in zip(MODULES, SOURCES, strict=True)}
    done, path = set(), []

    def visit(name):
        assert name not in path, ' -> '.join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(graph[name] & set(graph)):
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


TASK_NAMES = {'causal_lm', 'classification', 'regression', 'multilabel', 'masked_tokens'}
SCRIPTS = sorted((ROOT / 'scripts').rglob('*.py'))


def in_comparisons(tree):
    """What stands on either side of `==`, `in` and their kin."""
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    return (part for node in compared for part in ast.walk(node))


@pytest.mark.parametrize('path', [*SOURCES, *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_outside_the_tasks_knows_a_task_by_name(path):
    room = path.relative_to(ROOT).parent.as_posix()
    if room == 'ftjax/tasks':
        return
    tree = tree_of(path)
    # Scripts may give a task to what they run; nothing else may branch on it, or name it.
    parts = list(in_comparisons(tree) if path in SCRIPTS else ast.walk(tree))
    named = [part.value for part in parts if isinstance(part, ast.Constant)]
    found = [name for name in named if isinstance(name, str) and name in TASK_NAMES]
    holds_the_default = path == ROOT / 'ftjax' / 'data' / 'labels' / 'of_tasks.py'
    assert found == (['classification'] if holds_the_default else [])
    assert 'MASKED_TOKENS' not in {part.id for part in parts if isinstance(part, ast.Name)}


@pytest.mark.parametrize('folder', ['training', 'ablation'])
def test_rooms_of_rooms_hold_no_loose_files(folder):
    loose = {path.name for path in (ROOT / 'ftjax' / folder).glob('*.py')}
    assert loose <= {'__init__.py', 'settings.py'}


def test_files_of_one_name_are_of_one_idea():
    families = {path.stem for path in (ROOT / 'ftjax/pretrained/families').rglob('*.py')}
    # A data set drawn here and its source; images and texts; what a room registers; its settings.
    one_idea = {
        'glyphs',
        'docstrings',
        'augmentation',
        'registry',
        'settings',
        '__init__',
        'run_spec',
    }
    names = collections.Counter(path.stem for path in SOURCES)
    assert {name for name, count in names.items() if count > 1} <= families | one_idea | {
        '__init__'
    }


FOLDERS = sorted(path.parent for path in (ROOT / 'ftjax').glob('*/__init__.py'))


@pytest.mark.parametrize('folder', [ROOT / 'ftjax', *FOLDERS], ids=lambda folder: folder.name)
def test_every_room_has_a_readme_of_one_screen_that_names_real_files(folder):
    lines = (folder / 'README.md').read_text(encoding='utf-8').splitlines()
    assert len(lines) <= 60
    assert max(len(line) for line in lines) <= 100
    named = re.findall(r'[`(]([\w./-]+(?:\.py|\.md|/))[`)]', '\n'.join(lines))
    assert len(named) >= 3
    places = (folder, ROOT / 'ftjax', ROOT)
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert not missing
    if folder.name != 'ftjax':
        heads = re.findall(r'^\*\*(.+?)\.\*\*', '\n'.join(lines), flags=re.MULTILINE)
        wanted = ['Decided here', 'Read in this order', 'May import', 'How to add one more']
        assert heads == wanted


@pytest.mark.parametrize('folder', [f for f in FOLDERS if f.name in ROOMS], ids=lambda f: f.name)
def test_what_a_room_says_that_it_imports_is_what_it_imports(folder):
    text = (folder / 'README.md').read_text(encoding='utf-8')
    (said,) = re.findall(r'\*\*May import\.\*\*(.*?)\n\n', text, flags=re.DOTALL)
    said = said.replace('\n', ' ')
    if 'all up to' in said or 'Every room' in said or said.startswith(' Rooms before it'):
        return
    rooms = {room for room in ROOMS if (ROOT / 'ftjax' / room).is_dir()} - {folder.name}
    names = [name.split('.') for path in folder.rglob('*.py') for name in imported(path)]
    found = {name[1] for name in names if name[0] == 'ftjax' and len(name) > 1}
    assert set(re.findall(r'`(\w+)`', said)) & rooms == found & rooms


def test_the_map_lists_all_rooms_in_their_order():
    rows = re.findall(r'^\| (.+?) \|', (ROOT / 'ftjax/README.md').read_text(), flags=re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r'`(\w+)`', row)]
    assert listed == [room for room in ROOMS if room != '__init__']


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_anywhere(path):
    unsafe = {'pickle', 'cloudpickle', 'dill', 'shelve', 'marshal', 'joblib'}
    assert not unsafe & {name.split('.')[0] for name in imported(path)}
    assert 'allow_pickle=True' not in path.read_text(encoding='utf-8')


@pytest.mark.parametrize('module', MODULES)
def test_examples_in_docstrings(module):
    # As doctest.testmod, but docstrings without an example are left alone: for each that is run, it
    # looks at every source file that Python has read so far.
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for found in doctest.DocTestFinder().find(importlib.import_module(module), module):
        if found.examples:
            runner.run(found)
    assert runner.summarize(verbose=False).failed == 0


def test_importing_is_quick_and_leaves_heavy_libraries_alone():
    code = 'import json, sys, ftjax, ftjax.cli.launch; print(json.dumps(list(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    loaded = {name.split('.')[0] for name in json.loads(done.stdout)}
    # Optax and JAX decide for themselves; what they load is loaded anyway.
    base = subprocess.run(
        [sys.executable, '-c', code.replace('ftjax, ftjax.cli.launch', 'jax, flax.linen, optax')],
        capture_output=True,
        text=True,
        check=True,
    )
    already = {name.split('.')[0] for name in json.loads(base.stdout)}
    assert loaded & set(HEAVY) - already == set()


def test_the_installed_package_is_this_one():
    assert importlib.metadata.version('ftjax') == PROJECT['version']
    assert (ROOT / 'ftjax' / 'py.typed').is_file()
    license_ = (ROOT / 'LICENSE').read_text()
    assert 'Apache License' in license_
    assert 'Copyright 2026 The ftjax authors' in license_


def pins(name):
    lines = (ROOT / 'constraints' / name).read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith('#')]
    for line in lines:
        assert re.fullmatch(r'[a-z0-9-]+==[A-Za-z0-9.]+', line), f'{name}: {line!r}'
    return dict(line.split('==') for line in lines)


@pytest.mark.parametrize(
    ('file', 'python'), [('py311.txt', '3.11'), ('py312.txt', '3.12'), ('py312.txt', '3.13')]
)
def test_every_dependency_is_pinned_to_a_version_it_allows(file, python):
    pinned = pins(file)
    extras = PROJECT['optional-dependencies']
    needed = [text for name in ('test', 'logging', 'parity', 'tutorials') for text in extras[name]]
    for text in [*PROJECT['dependencies'], *needed]:
        requirement = Requirement(text)
        if requirement.name == 'ftjax':  # another of its own extras
            continue
        if requirement.marker and not requirement.marker.evaluate({'python_version': python}):
            continue
        name = canonicalize_name(requirement.name)
        if name == 'torch':  # pinned where it is asked for
            assert str(requirement.specifier) == '==2.13.0'
            continue
        assert name in pinned, f'{text} is not in {file}'
        assert requirement.specifier.contains(pinned[name]), f'{text}, but {pinned[name]} in {file}'
    assert canonicalize_name('torchvision') not in pinned


def test_every_import_is_declared():
    names = {
        'absl': 'absl-py',
        'mlflow': 'mlflow-skinny',
        'orbax': 'orbax-checkpoint',
        'PIL': 'pillow',
        'sklearn': 'scikit-learn',
        'tensorboardX': 'tensorboardx',
    }
    extras = [text for group in PROJECT['optional-dependencies'].values() for text in group]
    declared = {canonicalize_name(Requirement(t).name) for t in PROJECT['dependencies'] + extras}
    rooms = [ROOT / 'scripts', ROOT / 'tests']
    beside = {path.stem for room in rooms for path in room.rglob('*.py')}
    beside |= {path.name for room in rooms for path in room.iterdir() if path.is_dir()}
    known = {*sys.stdlib_module_names, 'ftjax', *beside}
    for path in [*SOURCES, *sorted((ROOT / 'scripts').glob('*.py'))]:
        for name in {name.split('.')[0] for name in imported(path)}:
            if name not in known:
                package = canonicalize_name(names.get(name, name))
                assert package in declared, f'{path.name} imports {name}'


@pytest.mark.parametrize('script', ['quickstart.sh', 'setup.sh', 'test.sh', '../.ci/run'])
def test_shell_scripts_parse(script):
    path = ROOT / 'scripts' / script
    assert path.stat().st_mode & 0o100, f'{script} is not executable'
    subprocess.run(['bash', '-n', path], check=True)
