"""Pages are in step with the code, and no link of theirs leads nowhere."""

import doctest
import json
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
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)', re.MULTILINE)
CODE = re.compile(r'```.*?```|`[^`]*`', re.DOTALL)
PAGES = [
    path
    for kind in ('*.md', '*.ipynb')
    for path in sorted(ROOT.rglob(kind))
    if not {'.venv', '.git', 'runs', '.hypothesis'} & set(path.relative_to(ROOT).parts)
]
GUIDES = [path for path in PAGES if path.name in ('GUIDE.md', 'HOW_IT_WORKS.md', 'MIGRATING.md')]
GUIDES += [ROOT / 'ftjax/freezing/PITFALLS.md', ROOT / 'configs/OWN_PARTS.md']
# The words of the glossary in README.md as they stand in a text.
WORDS = {
    word: f'{word}s?'
    for word in ('stage', 'head', 'trunk', 'plan', 'arm', 'seed', 'interval', 'gate')
}
WORDS |= {
    'leaf': 'leaf|leaves',
    'strategy': 'strategy|strategies',
    'frozen': 'frozen',
    'cut': 'cut',
}


def test_what_is_made_from_the_code_is_what_the_code_says():
    # In a process of its own, which holds no parts that other tests registered.
    code = 'print([str(path) for path, now, made in pages(pathlib.Path()) if now != made])'
    code = f'import pathlib\nfrom ftjax.cli.generated_pages import pages\n{code}'
    found = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == '[]\n', f'run python scripts/pages.py: {found.stdout}'


def text_of(page):
    """The text of a page; of a notebook, of its cells that are text."""
    text = page.read_text(encoding='utf-8')
    if page.suffix != '.ipynb':
        return text
    cells = [cell for cell in json.loads(text)['cells'] if cell['cell_type'] == 'markdown']
    return '\n\n'.join(''.join(cell['source']) for cell in cells)


def anchors(page):
    """What a link to a part of a page may name, as GitHub makes it of headings."""
    text = re.sub(r'```.*?```', '', text_of(page), flags=re.DOTALL)
    heads = re.findall(r'^#+ (.+)$', text, flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', head.lower()).replace(' ', '-') for head in heads}


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in (one or other for one, other in LINK.findall(CODE.sub('', text_of(page)))):
        if '://' in target or target.startswith('mailto:'):
            continue
        file, _, part = target.partition('#')
        path = page.parent / file if file else page
        assert path.exists(), f'{target} is not there'
        if part and path.suffix in ('.md', '.ipynb'):
            assert part in anchors(path), f'{target}: {path.name} has no such heading'


def test_the_words_of_the_glossary_are_those_that_guides_link():
    glossary = (ROOT / 'README.md').read_text('utf-8').split('## Twelve words')[1].split('##')[0]
    words = re.findall(r'^\| (\w+) \|', glossary, flags=re.MULTILINE)
    assert set(words) - {'word'} == set(WORDS)


@pytest.mark.parametrize('guide', GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_guides_link_each_word_of_the_glossary_where_they_first_use_it(guide):
    # Code, headings, examples and links to elsewhere are no text that explains.
    hidden = r'^#.*?$|^(?:>>>|\.\.\. ).*?$|<!--.*?-->|\[[^\]]*\]\([^)]*\)|^\[[^\]]+\]: \S+$'
    text = CODE.sub('', text_of(guide))
    text = re.sub(hidden, '', text, flags=re.DOTALL | re.MULTILINE)
    for word, forms in WORDS.items():
        first = re.search(rf'(.)\b(?:{forms})\b(.{{0,20}})', text, flags=re.IGNORECASE | re.DOTALL)
        if first is not None:
            linked = first.group(1) == '[' and first.group(2).startswith(']')
            assert linked, f'{guide.name}: {first.group()!r} should be linked to {word}'


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


def test_all_kinds_are_tables_under_their_names():
    lines = [*parts_markdown('all')]
    assert [line.removeprefix('### ') for line in lines if line in {f'### {k}' for k in KINDS}] == [
        *KINDS
    ]


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
