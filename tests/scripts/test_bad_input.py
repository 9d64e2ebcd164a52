"""A user's mistake is one line on stderr, an exit code that is not 0, and no result."""

import os
import subprocess
import sys

import pytest

CASES = {
    'strategy': (['--config.freeze=hed'], 'head'),
    'config key': (['--config.data.batchsize=8'], 'batch_size'),
    'folder': (['--config.data.source=folder:nowhere'], 'nowhere'),
    'pickle': (['--config.init=net.pth'], 'safetensors'),
    'blocks': (['--config.freeze=last:99'], 'blocks'),
    'rate 0': (['--config.optimizer.learning_rate=0.0'], 'learning_rate is 0'),
}


@pytest.mark.parametrize('name', CASES)
def test_mistakes_are_one_line(name, tmp_path, repository):
    flags, expected = CASES[name]
    (tmp_path / 'net.pth').write_bytes(b'x')
    flags = [flag.replace('net.pth', str(tmp_path / 'net.pth')) for flag in flags]
    command = [sys.executable, 'scripts/train.py', '--config=configs/quickstart_train.py']
    done = subprocess.run(
        [*command, f'--workdir={tmp_path / "run"}', *flags],
        cwd=repository,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1, done.stderr
    assert expected in done.stderr
    assert not (tmp_path / 'run' / 'result.json').exists()
