"""The scripts refuse what was made from other inputs: one line, exit code 2, nothing lost."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

CONFIG = """
import sys
sys.path.insert(0, {root!r})
import ftjax.runs.run
from PIL import Image
from configs.reliability import get_config as tiny

measured = ftjax.runs.run.split_statistics


def replaced(prepared, *arguments):
    if {replace}:
        Image.new('RGB', (16, 16)).save(prepared.data.test.inputs[0])
    return measured(prepared, *arguments)


ftjax.runs.run.split_statistics = replaced


def get_config():
    config = tiny()
    config.data.update(source='folder:' + {images!r}, augment='none')
    config.data.examples_per_class = config.data.val_per_class = 4
    config.train.steps = 2
    return config
"""


def call(repository, script, *arguments):
    done = subprocess.run(
        [sys.executable, f'scripts/{script}.py', *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Traceback' not in done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1:], done.stdout


@pytest.mark.slow
def test_scripts_hold_a_folder_against_its_inputs(tmp_path, repository, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    images = tmp_path / 'images'
    for number in range(60):
        place = images / 'abc'[number % 3] / f'{number:02d}.bmp'
        place.parent.mkdir(parents=True, exist_ok=True)
        shade = np.full((16, 16, 3), 60 * (number % 3) + number, np.uint8)
        Image.fromarray(shade).save(place)
    for name in ('still', 'going'):
        text = CONFIG.format(root=str(repository), replace=name == 'going', images=str(images))
        (tmp_path / f'{name}.py').write_text(text)

    def train(name, *more):
        config = f'--config={tmp_path}/{name}.py'
        return call(repository, 'train', config, f'--workdir={tmp_path}/{name}', *more)

    def evaluate(*more):
        return call(repository, 'evaluate', f'--workdir={tmp_path}/still', *more)

    assert train('still')[0] == 0 and evaluate()[0] == 0
    status, (said,), _ = train('going')
    assert status == 2 and 'changed while the run was going' in said and 'the model is kept' in said
    going = json.loads((tmp_path / 'going' / 'result.json').read_text())
    assert going['data_changed'] and (tmp_path / 'going' / 'model').is_dir()
    # The picture stays replaced: neither run is of these data.
    status, (said,), _ = train('still')
    assert status == 2 and 'holds a finished run, and the test split differs' in said
    assert train('still', '--allow-data-change')[0] == 0
    status, (said,), _ = evaluate()
    assert status == 2 and 'may have been trained on; --allow_data_change' in said
    assert evaluate('--allow_data_change')[2].splitlines()[-1].startswith('warning: the test split')
    told = json.loads((tmp_path / 'still' / 'evaluation_test.json').read_text())
    assert 'the test split differs' in told['data_changed']
