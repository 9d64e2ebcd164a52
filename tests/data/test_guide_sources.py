"""The table of sources in ftjax/tasks/GUIDE.md: every line is read as it says."""

import json
import pathlib
import re
import runpy

import pytest
from PIL import Image

from ftjax.cli.overrides import make, taken
from ftjax.config import read_config
from ftjax.data.sources.registry import read_source
from ftjax.data.unlabelled.inputs import read_inputs
from ftjax.data.unlabelled.items import Item
from ftjax.tasks.registry import tasks

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / 'ftjax/tasks/GUIDE.md').read_text()


def lines():
    table = GUIDE.partition('<!-- sources:start -->')[2].partition('<!-- sources:end -->')[0]
    found = [[cell.strip() for cell in line.split(' | ')] for line in table.strip().splitlines()]
    return [[cell.strip('|` ') for cell in row] for row in found[2:]]


def write(folder, source, columns, example):
    """The example as a source of one example; the path that stands after the colon."""
    images = re.findall(r'[\w/]+\.png', example)
    for image in images:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (8, 8), 1).save(folder / image)
    if source in ('folder:', 'masks:'):
        return folder
    path = folder / f'train.{source[:-1]}'
    header = columns.replace('`', '').partition(';')[0].partition(':')[0].replace(', ', ',')
    path.write_text(f'{header}\n{example}\n' if source == 'csv:' else f'{example}\n')
    return path


@pytest.mark.parametrize('row', lines(), ids=lambda row: ' '.join(row[:3])[:60])
def test_the_line_is_read(row, tmp_path):
    task, source, columns, example, command = row
    assert '|' not in example and source[:-1] in ('csv', 'jsonl', 'conll', 'folder', 'masks')
    path = write(tmp_path, source, columns, example)
    file, _, kind = re.search(r'--config=(\S+)', command)[1].partition(':')
    words = re.findall(r'--config\.[^`; ]+', f'{columns} {command}')
    words += [f'--config.data.task={task}', f'--config.data.source={source}{path}']
    config = runpy.run_path(str(ROOT / file))['get_config'](*([kind] if kind else []))
    rest, changes = taken(words)
    given = [tuple(word.removeprefix('--config.').split('=', 1)) for word in rest]
    numbers = {'data.label_scale': float}
    for key, value in given:
        *section, name = key.split('.')
        place = config[section[0]] if section else config
        place[name] = numbers.get(key, str)(value)
    make(config, changes)
    settings = read_config(config).data
    train = read_source(settings).training
    assert len(train) == 1 and train.task == task
    if source == 'jsonl:':
        for key, value in json.loads(example).items():
            assert key in re.findall(r'\w+', columns)
            flat = [value] if isinstance(value, str) else value
            texts = flat if isinstance(flat, list) else []
            held = ' '.join(map(str, train.inputs.reshape(-1)))
            if key not in settings.label_kind.label_columns and key not in ('label', 'messages'):
                assert all(text in held for text in texts)
    if train.kind == 'text':  # predict.py takes the same file
        (found,) = read_inputs(str(path), settings, texts=True)
        assert isinstance(found, Item)


def test_every_task_that_reads_files_of_ones_own_has_a_line():
    known = {row[0] for row in lines()}
    assert known == {*tasks()} - {'masked_features'}  # of any table, without labels
