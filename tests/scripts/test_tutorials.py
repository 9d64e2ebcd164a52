"""The tutorials: whole, in step with the code, and executed (slow)."""

import ast
import importlib
import importlib.util
import os
import pathlib
import re
import time
import types

import pytest

import ftjax.__main__ as commands
from ftjax.cli.listing import keys_of
from ftjax.cli.notebooks import as_file, cleaned, execute, faults, read_notebook, write_notebook
from ftjax.config import SECTIONS
from ftjax.errors import UserError

NAMES = (
    '01_freezing',
    '02_photos_to_a_server',
    '03_which_layers',
    '04_own_model',
    '05_read_an_ablation',
    '06_texts_and_instructions',
    '07_own_strategy',
)


@pytest.fixture(params=NAMES)
def tutorial(request, repository):
    return repository / 'configs' / 'tutorials' / f'{request.param}.ipynb'


def sources(notebook, kind):
    cells = [cell for cell in notebook['cells'] if cell['cell_type'] == kind]
    return [''.join(cell['source']) for cell in cells]


def resolved(value, names):
    """What a chain of attributes leads to; raises AttributeError where it is stale."""
    for name in names:
        if isinstance(value, types.ModuleType) and not hasattr(value, name):
            try:
                value = importlib.import_module(f'{value.__name__}.{name}')
                continue
            except ModuleNotFoundError:
                pass
        value = getattr(value, name)
    return value


def stale(code):
    """Names of ftjax that code uses and that are not there, keys of no section."""
    tree = ast.parse(code)
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split('.')[0] == 'ftjax':
                    bound[alias.asname or 'ftjax'] = importlib.import_module(
                        alias.name if alias.asname else 'ftjax'
                    )
        elif isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'ftjax':
            module = importlib.import_module(node.module)
            for alias in node.names:
                try:
                    bound[alias.asname or alias.name] = resolved(module, [alias.name])
                except AttributeError:
                    yield f'{node.module}.{alias.name}'
    for node in ast.walk(tree):
        names = []
        chain = node
        while isinstance(chain, ast.Attribute):
            names.insert(0, chain.attr)
            chain = chain.value
        if names and isinstance(chain, ast.Name) and chain.id in bound:
            try:
                resolved(bound[chain.id], names)
            except AttributeError:
                yield '.'.join([chain.id, *names])
        if isinstance(node, ast.Call):
            given = {word.arg: word.value for word in node.keywords}
            for section, value in given.items():
                if section in SECTIONS and isinstance(value, ast.Dict):
                    keys = [key.value for key in value.keys if isinstance(key, ast.Constant)]
                    yield from (f'{section}.{key}' for key in keys if key not in keys_of(section))


def in_texts(code):
    """Python that stands in the texts of code: files that it writes."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and str(node.value).startswith('"""'):
            yield node.value


def test_every_tutorial_is_here_and_linked(repository):
    found = sorted(path.stem for path in (repository / 'configs' / 'tutorials').glob('*.ipynb'))
    assert found == list(NAMES)
    page = (repository / 'configs' / 'README.md').read_text('utf-8')
    assert not [name for name in NAMES if f'(tutorials/{name}.ipynb)' not in page]


def test_what_is_committed_was_executed_without_a_fault(tutorial):
    notebook = read_notebook(tutorial)
    assert list(faults(notebook)) == []
    assert as_file(cleaned(notebook)) == tutorial.read_bytes()
    counts = [c['execution_count'] for c in notebook['cells'] if c['cell_type'] == 'code']
    assert counts == list(range(1, len(counts) + 1))  # top to bottom, each once
    said = sources(notebook, 'markdown')
    assert said[0].startswith('# ') and '## What to change for your data' in said[-1]


def test_no_cell_uses_what_is_no_longer_there(tutorial, repository):
    notebook = read_notebook(tutorial)
    code = '\n\n'.join(sources(notebook, 'code'))
    assert [*stale(code), *(name for text in in_texts(code) for name in stale(text))] == []
    everything = '\n'.join(sources(notebook, 'markdown')) + code
    scripts = set(re.findall(r"ftjax'?,? '?([a-z_]+)(?=[`' ])", everything.replace('\n', ' ')))
    scripts = {name for name in scripts if f'-m ftjax {name}' in everything}
    assert scripts <= {*commands.commands(repository / 'scripts'), 'configs'}
    named = re.findall(r'`((?:ftjax|configs)/[\w/]+(?:\.\w+)?)`', everything)
    assert not [name for name in named if not (repository / name).exists()]


needs_kernel = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ('nbclient', 'nbformat', 'ipykernel')),
    reason='needs the extra tutorials',
)


@pytest.mark.slow
@needs_kernel
def test_it_runs_top_to_bottom(tutorial, monkeypatch, repository):
    monkeypatch.setenv('PYTHONPATH', str(repository))
    notebook = read_notebook(tutorial)
    made = cleaned(execute(notebook, tutorial.stem))
    assert list(faults(made)) == []
    kinds = [[o['output_type'] for o in c.get('outputs', ())] for c in made['cells']]
    assert kinds == [[o['output_type'] for o in c.get('outputs', ())] for c in notebook['cells']]


def cell(source='1', count=1, outputs=()):
    return {
        'cell_type': 'code',
        'execution_count': count,
        'id': 'a',
        'metadata': {'execution': {'started': 'now'}},
        'outputs': list(outputs),
        'source': source,
    }


def stream(text, name='stdout'):
    return {'output_type': 'stream', 'name': name, 'text': text}


@pytest.mark.parametrize(
    ('one', 'said'),
    [
        (cell(count=None), 'cell 0 was not executed'),
        (cell(outputs=[stream('written to /tmp/abc\n')]), 'a path of one machine: /tmp/abc'),
        (cell(outputs=[stream('careful', 'stderr')]), 'writes to stderr: careful'),
        (
            cell(outputs=[{'output_type': 'error', 'ename': 'KeyError', 'evalue': 'x'}]),
            'failed: KeyError: x',
        ),
        (cell(outputs=[stream('x' * 200_001)]), 'at most 200,000'),
    ],
)
def test_what_must_not_be_committed_is_refused(one, said, tmp_path):
    notebook = {'nbformat': 4, 'nbformat_minor': 5, 'cells': [one], 'metadata': {}}
    with pytest.raises(UserError, match=re.escape(said)):
        write_notebook(tmp_path / 'a.ipynb', notebook)
    assert not (tmp_path / 'a.ipynb').exists()


@needs_kernel
def test_lines_of_a_file_are_executed_and_a_cell_that_fails_is_told():
    notebook = {'nbformat': 4, 'nbformat_minor': 5, 'metadata': {}}
    notebook['cells'] = [cell(['one = 1\n', 'print(one)'], count=None)]
    (made,) = cleaned(execute(notebook, 'mine'))['cells']
    assert (made['execution_count'], made['outputs']) == (1, [stream(['1\n'])])
    code = "import subprocess\nraise ValueError(subprocess.Popen(['sleep', '600']).pid)"
    notebook['cells'] = [cell(code, count=None)]
    with pytest.raises(UserError, match=r'mine: (?s:.)*ValueError: \d+') as found:
        execute(notebook, 'mine')
    assert '\x1b' not in str(found.value)
    left = int(re.findall(r'ValueError: (\d+)', str(found.value))[-1])
    end = time.monotonic() + 10
    while runs(left) and time.monotonic() < end:
        time.sleep(0.05)
    assert not runs(left)  # what a cell has started ends with the notebook


def runs(process):
    """Whether a process does something; not one that has ended and is not yet fetched."""
    state = pathlib.Path(f'/proc/{process}/stat')
    try:
        os.kill(process, 0)
        return state.read_text().rsplit(')', 1)[-1].split()[0] not in 'ZX'
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not pathlib.Path('/proc/self').exists()


def test_pieces_of_a_stream_become_one_and_times_go():
    outputs = [stream('a\n'), stream(['b\n']), stream('c', 'stderr'), stream('d')]
    made = cleaned({'nbformat': 4, 'cells': [cell(outputs=outputs)], 'metadata': {'x': 1}})
    assert [each['text'] for each in made['cells'][0]['outputs']] == ['a\nb\n', 'c', 'd']
    assert made['cells'][0]['metadata'] == {}


def test_stale_names_are_seen():
    code = "import ftjax\nfrom ftjax import serving, nothing\nftjax.train_it('x')\nserving.lod()\n"
    found = [*stale(code), *stale("import ftjax\nftjax.finetune('a', 'b', train={'epoch': 1})")]
    assert found == ['ftjax.nothing', 'ftjax.train_it', 'serving.lod', 'train.epoch']


def test_what_is_no_notebook_is_told(tmp_path):
    for text, said in (
        ('{', 'is no notebook'),
        ('[]', 'format 4'),
        ('{"nbformat": 3}', 'format 4'),
    ):
        (tmp_path / 'a.ipynb').write_text(text)
        with pytest.raises(UserError, match=said):
            read_notebook(tmp_path / 'a.ipynb')
    with pytest.raises(UserError, match='no such file'):
        read_notebook(tmp_path / 'b.ipynb')
