"""Pages are in step with the code, and no link of theirs leads nowhere."""

import doctest
import pathlib
import re
import subprocess
import sys

import jax
import pytest

from ftjax.cli.listing import keys_of
from ftjax.cli.listing_markdown import parts_markdown, table, with_generated
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.models.registry import build
from ftjax.registry import KINDS

ROOT = pathlib.Path(__file__).resolve().parents[1]
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
PAGES = [
    path
    for path in sorted(ROOT.rglob('*.md'))
    if not {'.venv', '.git', 'runs', '.hypothesis'} & set(path.relative_to(ROOT).parts)
]


def test_what_is_made_from_the_code_is_what_the_code_says():
    # In a process of its own, which holds no parts that other tests registered.
    code = 'print([str(path) for path, now, made in pages(pathlib.Path()) if now != made])'
    code = f'import pathlib\nfrom ftjax.cli.generated_pages import pages\n{code}'
    found = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == '[]\n', f'run python scripts/pages.py: {found.stdout}'


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r'```.*?```|`[^`]*`', '', page.read_text(encoding='utf-8'), flags=re.DOTALL)
    for target in LINK.findall(text):
        if '://' in target or target.startswith(('#', 'mailto:')):
            continue
        path = page.parent / target.split('#')[0]
        assert path.exists(), f'{target} is not there'


def test_every_script_and_every_result_is_named():
    scripts = (ROOT / 'scripts' / 'README.md').read_text(encoding='utf-8')
    names = {path.name for path in (ROOT / 'scripts').glob('*.*') if path.suffix in ('.py', '.sh')}
    parts_of_others = {name for name in names if name.startswith('fuzzing_')}
    parts_of_others |= {'setup.sh', 'device_suite.py'}
    missing = sorted(name for name in names - parts_of_others if name not in scripts)
    assert not missing
    results = (ROOT / 'results' / 'README.md').read_text(encoding='utf-8')
    folders = {path.name for path in (ROOT / 'results').iterdir() if path.is_dir()}
    folders |= {path.name for path in (ROOT / 'results' / 'reproductions').iterdir()}
    assert not sorted(n for n in folders - {'reproductions'} if not re.search(rf'\b{n}\b', results))


@pytest.mark.parametrize('kind', list(KINDS))
def test_parts_of_every_kind_make_a_table(kind):
    lines = [line for line in parts_markdown(kind) if line.startswith('|')]
    assert len(lines) > 2
    assert all(line.endswith(' |') for line in lines)


def test_a_part_between_marks_is_replaced():
    page = 'a\n<!-- x:start -->\nold\n<!-- x:end -->\nb\n'
    assert with_generated(page, 'x', ['new']) == page.replace('old', 'new')
    with pytest.raises(UserError, match='no part'):
        with_generated(page, 'y', [])
    assert list(table(['a'], [['b|c']]))[-1] == '| b\\|c |'


def test_the_examples_of_the_pitfalls_run():
    page = ROOT / 'ftjax' / 'freezing' / 'PITFALLS.md'
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 30
    assert not found.failed


def test_what_the_migration_page_names_is_there():
    page = (ROOT / 'ftjax' / 'MIGRATING.md').read_text('utf-8')
    network = build('vit', {'depth': 3, 'width': 32, 'heads': 2, 'image_size': 16})
    shapes = jax.eval_shape(network.init, jax.random.key(0), network.example_input())
    freezes = set(re.findall(r"freeze(?:=| = )'?([a-z][\w:.+|,]*)", page))
    assert {'last:2', 'full+llrd:0.75', 'lp_ft:0.2+discriminative:2.6', 'lora:8'} <= freezes
    for freeze in (*freezes, 'head+norm', 'full+ema:0.999'):
        make_plan(freeze, network, shapes)
    keys = set(re.findall(r'config\.(\w+)\.(\w+)', page)) | {
        ('train', 'metric'),
        ('ablation', 'also_evaluate'),
        ('data', 'augment'),
        ('data', 'task'),
    }
    for section, key in keys:
        assert key in keys_of(section), (section, key)
    assert all((ROOT / file).exists() for file in re.findall(r'scripts/\w+\.py', page))
