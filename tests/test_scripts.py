"""The scripts from end to end: what works, and what bad input ends in."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

QUICK = (
    '--config=configs/quickstart_train.py',
    '--config.train.steps=4',
    '--config.data.examples_per_class=2',
)

FEW = ('--config.data.val_per_class=1', '--config.data.batch_size=4')


@pytest.fixture(scope='module')
def call(repository):
    def run(script, *flags, **env):
        return subprocess.run(
            [sys.executable, f'scripts/{script}.py', *map(str, flags)],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **env},
        )

    return run


def refused(done, *words):
    """One line that begins with error, holds the words; an exit code that is not 0."""
    assert done.returncode not in (0, None), done.stdout
    last = done.stderr.strip().split('\n')[-1]
    assert last.startswith('error: '), done.stderr
    assert 'Traceback' not in done.stderr
    for word in words:
        assert word in last, last


@pytest.fixture
def pictures(tmp_path):
    """Two classes of six small JPEGs."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for number, name in enumerate(('ants', 'bees')):
        folder = tmp_path / 'pictures' / name
        folder.mkdir(parents=True)
        for index in range(6):
            pixels = draw.integers(0, 120, (30, 30, 3)) + 100 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f'{index}.jpg')
    return tmp_path / 'pictures'


def test_train_and_evaluate(call, tmp_path):
    folder = tmp_path / 'run'
    done = call('train', *QUICK, f'--workdir={folder}', '--config.freeze=last:1')
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / 'result.json').read_text())
    wanted = (
        'metrics params_total params_trainable optimizer_bytes step_seconds_median '
        'compile_seconds wall_seconds peak_memory_bytes frozen_unchanged trainable_changed '
        'versions seed data_fingerprint'
    )
    assert set(wanted.split()) <= set(result) and result['frozen_unchanged'] is True
    names = (
        'config.json',
        'plan.json',
        'load_report.json',
        'metrics.jsonl',
        'model',
        'report.html',
    )
    assert all((folder / name).exists() for name in names)
    again = call('train', *QUICK, f'--workdir={folder}', '--config.freeze=last:1')
    assert again.returncode == 0 and 'finished already' in again.stdout
    best = result['validation']['accuracy']
    decided = (
        f'weights of step {result["best_step"]} of 4, of the best validation accuracy: {best:.6g}'
    )
    assert all(f'{decided} (higher is better)' in each.stdout for each in (done, again))
    found = call('evaluate', f'--workdir={folder}')
    assert found.returncode == 0, found.stderr
    assert 'true \\ predicted' in found.stdout  # the confusion matrix that --help promises
    told = json.loads((folder / 'evaluation_test.json').read_text())
    assert told['accuracy'] == result['metrics']['accuracy']
    refused(
        call('train', *QUICK, f'--workdir={folder}', '--config.freeze=head'), 'another', 'workdir'
    )


@pytest.mark.slow
def test_a_report_is_written_again_and_can_be_left_out(call, tmp_path):
    folder, quiet = tmp_path / 'run', tmp_path / 'quiet'
    assert call('train', *QUICK, f'--workdir={folder}').returncode == 0
    before = (folder / 'report.html').read_text()
    (folder / 'report.html').unlink()
    done = call('report', f'--workdir={folder}')
    assert done.returncode == 0 and 'Test accuracy' in done.stdout, done.stderr
    after = (folder / 'report.html').read_text()
    assert after.count('<h2>') == before.count('<h2>') and after.count('<img') >= 20
    refused(call('report', f'--workdir={tmp_path}'), 'no config.json')
    done = call('train', *QUICK, '--config.train.report=False', f'--workdir={quiet}')
    assert done.returncode == 0
    names = {path.name for path in quiet.iterdir()}
    assert not names & {'report.html', 'report.json', 'test_examples.npz'}


@pytest.mark.slow
def test_a_run_begins_with_what_another_ended_with(call, tmp_path):
    for start in ((), (f'--config.init={tmp_path / "one"}',)):
        folder = tmp_path / ('two' if start else 'one')
        done = call('train', *QUICK, *start, f'--workdir={folder}')
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_folder_of_pictures_by_changing_the_source(call, pictures, tmp_path):
    done = call(
        'train',
        *QUICK,
        f'--config.data.source=folder:{pictures}',
        *FEW,
        f'--workdir={tmp_path / "run"}',
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run' / 'result.json').exists()


BAD = {
    'source': (['--config.data.source=folder:/nowhere/at/all'], ['/nowhere']),
    'strategy': (['--config.freeze=lst:2'], ['last']),
    'key': (['--config.data.batchsize=4'], ['batch_size']),
    'pth': (['--config.init={folder}/network.pth'], ['network.pth', 'safetensors']),
    'count': (['--config.freeze=last:99'], ['99', 'has 5']),
    'rate': (['--config.optimizer.learning_rate=0'], ['freeze']),
    'init': (['--config.init=glyfs'], ['glyphs']),
}


# One stands for all: the others are messages of functions that have tests of their own.
@pytest.mark.parametrize(
    'case', ['strategy', *(pytest.param(n, marks=pytest.mark.slow) for n in BAD if n != 'strategy')]
)
def test_a_bad_setting_is_one_line(call, tmp_path, case):
    flags, words = BAD[case]
    (tmp_path / 'network.pth').write_bytes(b'PK')
    flags = [flag.format(folder=tmp_path) for flag in flags]
    folder = tmp_path / 'run'
    refused(call('train', *QUICK, f'--workdir={folder}', *flags), *words)
    assert not (folder / 'result.json').exists()


@pytest.mark.slow
def test_bad_files_are_one_line_and_leave_no_result(call, pictures, tmp_path):
    from ftjax.pretrained.open import load_pretrained
    from ftjax.pretrained.own_format import save_own

    source = f'--config.data.source=folder:{pictures}'
    workdir = f'--workdir={tmp_path / "run"}'
    run = ('train', *QUICK, source, *FEW, workdir)
    (pictures / 'wasps').mkdir()
    refused(call(*run), 'wasps')
    (pictures / 'wasps').rmdir()
    whole = (pictures / 'ants' / '0.jpg').read_bytes()
    (pictures / 'ants' / '0.jpg').write_bytes(whole[: len(whole) // 2])
    refused(call(*run), '0.jpg')
    (pictures / 'ants' / '0.jpg').write_bytes(whole)
    found = load_pretrained('glyphs', num_classes=2)
    folder = save_own(
        tmp_path / 'net', found.network, found.variables, found.preprocessing, ('ants', 'bees')
    )
    weights = folder / 'model.safetensors'
    good = weights.read_bytes()
    weights.write_bytes(good[:-1000])
    refused(call(*run, f'--config.init={folder}'), 'model.safetensors')
    weights.write_bytes(good)
    config = json.loads((folder / 'config.json').read_text())
    config['options']['width'] *= 2
    (folder / 'config.json').write_text(json.dumps(config))
    refused(call(*run, f'--config.init={folder}'), 'shape')
    images = np.zeros((20, 24, 24, 1), np.uint8)
    np.savez(tmp_path / 'many.npz', x=images, y=np.r_[np.arange(18) % 3, 9, -1])
    source = f'--config.data.source=npz:{tmp_path / "many.npz"}'
    classes = "--config.data.class_names=('a','b','c')"
    refused(call('train', *QUICK, source, classes, workdir), 'label')
    (tmp_path / 'none').mkdir()
    source = f'--config.data.source=folder:{tmp_path / "none"}'
    refused(call('train', *QUICK, source, workdir), 'none')
    assert not (tmp_path / 'run' / 'result.json').exists()


@pytest.mark.slow
def test_evaluate_knows_strategies_of_a_config_file(call, tmp_path):
    config = tmp_path / 'ends.py'
    config.write_text(
        'from configs.quickstart_train import get_config as quickstart\n'
        'from ftjax.freezing.registry import strategy\n\n\n'
        "@strategy('ends', 'mask', k=1)\n"
        'def ends(net, k):\n'
        "    '''The first and the last k blocks, and the head.'''\n"
        '    return net.within(*net.blocks[:k], *net.blocks[-k:]) | net.head\n\n\n'
        'def get_config():\n'
        '    config = quickstart()\n'
        "    config.freeze = 'ends:1'\n"
        '    config.train.steps = 4\n'
        '    return config\n'
    )
    done = call('train', f'--config={config}', f'--workdir={tmp_path / "run"}')
    assert done.returncode == 0, done.stderr
    found = call('evaluate', f'--workdir={tmp_path / "run"}', '--split=val')
    assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_a_picture_of_augmented_images_is_drawn(call, pictures, tmp_path):
    file = tmp_path / 'seen.png'
    flags = (f'--config.data.source=folder:{pictures}', *FEW, '--config.data.augment=flip,hue')
    config = '--config=configs/own_data.py'
    done = call('plan', config, *flags, f'--show-augment={file}')
    assert done.returncode == 0, done.stderr
    assert 'flip,hue on 4 images of the first batch' in done.stdout
    assert file.read_bytes().startswith(b'\x89PNG')
    refused(call('plan', config, *flags, '--show-augment', 'x.txt'), 'x.txt', '.png')
