"""The device suite, rehearsed on a CPU: every section that needs no GPU writes what it measures."""

import json
import os
import subprocess
import sys

import pytest

SECTIONS = ('vision_steps', 'vision_frozen', 'language_steps', 'stored_features', 'jpeg_input')


@pytest.fixture
def page(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / 'scripts'))
    from benchmarks.device import page

    return page


def test_the_page_says_what_was_not_measured_and_why_a_section_ended(page, tmp_path):
    rows = [
        {'row': 'ViT full', 'kind': 'own', 'ftjax_ms': 39.4, 'peak_GiB': None},
        {'row': 'ViT full', 'kind': 'beside', 'eager_ms': 48.2, 'eager_spread': [1.1, 1.2]},
    ]
    found = {'rows': rows, 'left_out': ['timm: not there'], 'ended': 'out of time after 9 s'}
    (tmp_path / 'vision_steps.json').write_text(json.dumps(found))
    (tmp_path / 'notes.md').write_text('## By hand\n')
    page.write(tmp_path)
    text = (tmp_path / 'gpu.md').read_text()
    assert '| ViT full | 39.4 |' in text and '| ViT full | 48.2 | 1.1 .. 1.2 |' in text
    assert 'peak' not in text.split('##')[2]
    assert 'timm: not there' in text and 'ended: out of time after 9 s' in text
    assert text.count('Not measured.') == len(page.SECTIONS) - 1
    assert text.rstrip().endswith('## By hand')
    assert json.loads((tmp_path / 'gpu.json').read_text())['sections']['vision_steps'] == found


def test_a_section_leaves_its_rows_on_disk_as_they_come(repository, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(repository / 'scripts'))
    from benchmarks.device.report import Section

    section = Section('some', tmp_path, 5.0)
    section.row(row='first', kind='own', ms=1.0)
    assert json.loads((tmp_path / 'some.json').read_text())['rows'] == [
        {'row': 'first', 'kind': 'own', 'ms': 1.0}
    ]
    section.leave_out('second', 'no time')
    assert json.loads((tmp_path / 'some.json').read_text())['left_out'] == ['second: no time']


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize('name', SECTIONS)
def test_tiny_sections_run_on_a_cpu(repository, tmp_path, name):
    environment = {
        **os.environ,
        'FTJAX_PYTHON': sys.executable,
        'FTJAX_WHEELS': str(tmp_path / 'none'),
        'TORCHDYNAMO_DISABLE': '1',
        'JAX_PLATFORMS': 'cpu',
    }
    command = ['bash', 'scripts/device_suite.sh', str(tmp_path / 'out'), '--tiny']
    done = subprocess.run(
        [*command, f'--sections={name}', '--limit=600'],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    found = json.loads((tmp_path / 'out' / f'{name}.json').read_text())
    assert done.returncode == 0 and found.get('finished'), done.stdout + done.stderr
    assert found['rows']
    assert 'TINY SIZES' in (tmp_path / 'out' / 'gpu.md').read_text()
