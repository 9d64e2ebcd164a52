"""What `plan.py --list` and `--keys` print, and what they answer to a name that is none."""

import subprocess
import sys

import pytest

from ftjax import registry
from ftjax.cli.listing import list_keys, list_parts
from ftjax.errors import UserError


@pytest.mark.parametrize('asked', ['train.loss', 'config.train.loss'])
def test_a_key_is_shown_alone_and_its_section_named(asked):
    lines = list(list_keys(asked))
    assert lines[0] == "loss is a key of the section 'train'"
    assert lines[1] == "config.train.loss: str = ''" and 'focal:2' in ''.join(lines[2:])
    assert sum(line.startswith('config.') for line in lines) == 1


def test_a_key_of_no_section_is_shown_too():
    lines = list(list_keys('seed'))
    assert lines[0] == 'seed is a key of a config, of no section'
    assert [line for line in lines if line.startswith('config.')] == [
        'config.seed: int, at_least(0) = 0'
    ]


@pytest.mark.parametrize(
    ('asked', 'words'),
    [
        ('train.los', "unknown key of config.train: 'los'; did you mean 'loss'"),
        ('trian', "unknown section of a config: 'trian'; did you mean 'train'"),
        ('trian.loss', "unknown section of a config: 'trian'; did you mean 'train'"),
        ('', "unknown section of a config: ''; known: "),
    ],
)
def test_what_is_neither_section_nor_key_is_refused(asked, words):
    with pytest.raises(UserError) as found:
        list(list_keys(asked))
    assert words in str(found.value)


def test_a_part_without_docstring_is_listed_with_its_file(monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'schedule', dict(registry.parts('schedule')))

    @registry.register('schedule', 'silent')
    def silent(settings, done, step, total):
        return 1.0

    line = next(line for line in list_parts('schedule') if line.startswith('silent'))
    assert line.split(maxsplit=1)[1] == f'(no docstring; {silent.__code__.co_filename})'


def test_what_a_part_is_written_as_is_read_as_the_same(monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'logger', dict(registry.parts('logger')))

    @registry.register('logger', 'worded')
    def worded(folder, resume_step, before='', after='', count=1):
        """A part whose texts are empty by default."""

    for text in ('worded', 'worded:a', 'worded:after=b', 'worded:count=3', 'worded:before=,b'):
        term = registry.parse('logger', text)
        assert registry.parse('logger', str(term)) == term
    with pytest.raises(UserError, match='an argument is empty; worded takes before, after, count'):
        registry.parse('logger', 'worded:')


# One stands for both: they are read alike.
@pytest.mark.parametrize('flag', ['--list=', pytest.param('--keys=', marks=pytest.mark.slow)])
def test_an_empty_value_lists_all(repository, flag):
    call = [sys.executable, 'scripts/plan.py', flag]
    listed = subprocess.run(call, cwd=repository, capture_output=True, text=True, check=True)
    known = {'--list=': ('strategy: ', 'optimizer: '), '--keys=': ('config.train.loss', '.seed')}
    assert all(word in listed.stdout for word in known[flag])
    assert 'a step of' not in listed.stdout  # no plan is made
