"""Frozen leaves gathered each step or pinned: what plan.py prints is what programs take."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[2]


def printed(*command):
    flag = '--xla_force_host_platform_device_count=8'
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flag, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize('strategy', ['last:1', 'bitfit'])
def test_every_choice_holds_and_moves_what_is_told(strategy):
    found = json.loads(printed(pathlib.Path(__file__).with_name('mesh_choices.py'), strategy))
    assert len(found) == 2
    for name, seen in found.items():
        told, sizes = seen['told'], seen['collectives']
        # Rates, seed and step on top of what is held and of the batch.
        assert 0 <= seen['arguments'] - told['held'] - seen['batch'] < 512, name
        gathered = sizes.get('all-gather', 0)
        assert told['forward'] + 0.8 * told['backward'] <= gathered, name
        assert gathered <= told['forward'] + told['backward'], name
        reduced = sizes.get('all-reduce', 0) + sizes.get('reduce-scatter', 0)
        assert reduced <= 1.5 * (told['reduced'] + told['copied']) + 64, name
    first, *others = found.values()
    for other in others:  # who pins holds more and fetches less
        assert other['told']['held'] > first['told']['held']
        assert other['told']['forward'] < first['told']['forward']
        assert other['arguments'] > first['arguments']


def test_the_command_prints_each_choice_and_its_rule_does_what_it_says():
    given = (
        *('scripts/plan.py', '--config=configs/reliability.py:plain', '--config.freeze=last:1'),
        *('--config.data.batch_size=16', '--config.mesh.data=2', '--config.mesh.fsdp=4'),
    )
    text = printed(*given)
    holds, rule, pinned = re.search(
        r'a device of the mesh 2 x 4 .*\n  as the config says\n    holds (\S+ \S+) .*\n.*\n'
        r'  frozen leaves before the cut whole: (\(.*\))\n    holds (\S+ \S+) ',
        text,
    ).groups()
    assert holds != pinned
    after = printed(*given, f'--config.mesh_rules=({rule},)')
    assert re.search(r'as the config says\n    holds (\S+ \S+) ', after)[1] == pinned
    # Memory on the device is told by the same placement.
    trained, frozen = (
        re.search(rf'  {name} +(\S+ \S+)\n', text)[1]
        for name in ('trainable parameters', 'frozen parameters')
    )
    assert trained != frozen
