"""kill -9 at any moment of a publication or promotion, and publishers in several processes."""

import random
import shutil
import subprocess
import sys
import time

import pytest

from ftjax.serving.bundle.manifest import write_manifest
from ftjax.serving.versions.publishing import publish
from ftjax.serving.versions.registry import Damaged, Registry

pytestmark = pytest.mark.slow
# The bundle is loaded before, so that the time of a kill falls into the writing.
CODE = """
import sys
from ftjax.serving.bundle.loaded_bundle import load
from ftjax.serving.versions import publishing
from ftjax.serving.versions.promotions import promote
from ftjax.serving.versions.registry import Registry

folder, bundle = sys.argv[1:]
loaded = load(bundle, goldens=False)
publishing.load = lambda _: loaded
print('ready', flush=True)
sys.stdin.readline()
version = publishing.publish(folder, bundle, 'noise').version
for stage in ('production', 'staging'):
    promote(Registry(folder), str(version), stage, 'r')
print('done', flush=True)
"""


def publisher(folder, bundle):
    process = subprocess.Popen(
        [sys.executable, '-c', CODE, str(folder), str(bundle)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'ready\n'
    return process


def go(process):
    process.stdin.write('\n')
    process.stdin.flush()


def of_other_bytes(bundle, folder, number):
    """The same bundle by another manifest, which makes it another one."""
    shutil.copytree(bundle, folder)
    (folder / 'bundle.json').unlink()
    write_manifest(folder, {'jax': f'of trial {number}'})
    return folder


def test_a_kill_leaves_the_old_state_or_the_new_one(images, tmp_path):
    folder, draw, kills = tmp_path / 'reg', random.Random(0), 0
    process = publisher(folder, images.bundle)
    began = time.monotonic()
    go(process)
    process.communicate()
    took = time.monotonic() - began
    for trial in range(20):
        bundle = of_other_bytes(images.bundle, tmp_path / f'b{trial}', trial)
        before = Registry(folder)
        numbers, events = before.numbers('noise', 'versions'), len(before.history('noise'))
        held = before.resolve('noise@production').number
        process = publisher(folder, bundle)
        go(process)
        time.sleep(took * draw.random())
        process.kill()
        kills += process.wait() != 0
        registry = Registry(folder)
        versions, history = registry.versions('noise'), registry.history('noise')
        assert not any(isinstance(each, Damaged) for each in (*versions, *history))
        new = [each.number for each in versions][len(numbers) :]
        assert new in ([], [numbers[-1] + 1])
        assert len(history) - events in ((0, 1, 2) if new else (0,))
        promoted = registry.resolve('noise@production').number
        assert promoted == (new[0] if len(history) > events else held)
        for each in versions:
            registry.open(each)
    assert kills > 5
    publish(folder, of_other_bytes(images.bundle, tmp_path / 'last', 'last'), 'noise')
    known = {each.sha256 for each in Registry(folder).versions('noise')}
    assert {path.name for path in (folder / 'noise' / 'bundles').iterdir()} == known


def test_several_processes_at_once_get_a_number_each(images, tmp_path):
    folder = tmp_path / 'reg'
    processes = [
        publisher(folder, of_other_bytes(images.bundle, tmp_path / f'b{n}', n)) for n in range(4)
    ]
    for process in processes:
        go(process)
    assert [process.communicate()[0] for process in processes] == ['done\n'] * 4
    registry = Registry(folder)
    assert [each.number for each in registry.versions('noise')] == [1, 2, 3, 4]
    events = registry.history('noise')
    assert [each.number for each in events] == list(range(1, 9))
    last = [each for each in events if each.stage == 'production'][-1]
    assert sorted((*last.before, last.version)) == [1, 2, 3, 4]
