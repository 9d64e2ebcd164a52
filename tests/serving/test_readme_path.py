"""The guide's path from a run to an answer over HTTP, command by command."""

import importlib.util
import json
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from ftjax.serving.monitoring.window_file import read_window

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec('uvicorn'), reason='needs the extra serve')
def test_train_report_export_serve_curl_monitor(tmp_path):
    text = (ROOT / 'ftjax' / 'runs' / 'GUIDE.md').read_text()
    (block,) = re.findall(r'```bash\n([^`]*?scripts/serve\.py[^`]*?)```', text)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    lines = [line for line in block.splitlines() if not line.startswith('pip ')]
    commands = '\n'.join(lines).replace('8000', port)
    commands = commands.replace('runs/', f'{tmp_path}/').replace('bundles/', f'{tmp_path}/bundles/')
    commands = commands.replace('windows/', f'{tmp_path}/windows/')
    commands = commands.replace('python ', f'{sys.executable} ')
    commands = commands.replace('quickstart_train.py', 'quickstart_train.py --config.train.steps=2')
    done = subprocess.run(
        ['bash', '-euc', commands], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    answer, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.rindex('{"request_id"') :])
    (row,) = answer['predictions']
    assert set(row['probabilities']) == set('0123456789')
    assert sum(row['probabilities'].values()) == pytest.approx(1)
    assert '1 windows wait' in done.stdout
    assert done.stdout.endswith('monitor.html\n')
    (window,) = (tmp_path / 'windows' / 'digits').glob('window_*.safetensors')
    assert read_window(window).seen == 1
