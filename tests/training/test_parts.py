"""Arrays that are shared out over processes: each writes its part, any one process reads them."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ftjax.io.files.saved_step import MANIFEST
from ftjax.io.json.tree_json import array_hash, json_hash
from ftjax.training.checkpoints.checkpoints import Checkpoints

WRITER = """
    import sys
    import jax
    import numpy as np
    jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
    from ftjax.distributed.device_put import put
    from ftjax.training.checkpoints.checkpoints import Checkpoints
    from ftjax.training.checkpoints.step_folders import seen_by_all
    import pathlib
    folder = pathlib.Path(sys.argv[1])
    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(2, 2), ('data', 'fsdp'))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(('data', 'fsdp')))
    columns = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, 'data'))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    tree = {'rows': np.arange(24.0).reshape(8, 3), 'columns': np.arange(12.0).reshape(3, 4),
            'whole': np.arange(5.0)}
    state = put(tree, {'rows': rows, 'columns': columns, 'whole': whole})
    add = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    with Checkpoints(folder, shared=True) as checkpoints:
        assert checkpoints.together and seen_by_all(folder)
        for step in (1, 2, 2, 3):
            checkpoints.save(step, {'state': state})
            state = add(state)
"""


@pytest.mark.slow
def test_two_processes_write_one_checkpoint_and_one_reads_it(tmp_path):
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        place = f'127.0.0.1:{one.getsockname()[1]}'
    folder, code = tmp_path / 'checkpoints', textwrap.dedent(WRITER)
    flags = {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}
    both = [
        subprocess.Popen(
            [sys.executable, '-c', code, str(folder), place, str(number)],
            env={**os.environ, **flags},
        )
        for number in (0, 1)
    ]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps == (2, 3)
        for step, added in ((2, 2), (3, 3)):
            state = checkpoints.restore(step).items['state']
            assert np.array_equal(state['rows'], np.arange(24.0).reshape(8, 3) + added)
            assert np.array_equal(state['columns'], np.arange(12.0).reshape(3, 4) + added)
            assert np.array_equal(state['whole'], np.arange(5.0) + added)
        manifest = json.loads((folder / '3' / MANIFEST).read_text())
        hashes = sorted(text.rpartition(':')[0] for text in manifest['hashes']['state'].values())
        assert (manifest['format'], hashes) == (2, ['', '1x2', '4x1'])
        assert (folder / '3' / 'state' / 'ocdbt.process_1').is_dir()
        del manifest['sha256']
        number = manifest['items']['state']['dict']['rows']['array']
        manifest['hashes']['state'][number] = '4x1:' + '0' * 64
        manifest['sha256'] = json_hash(manifest)
        (folder / '3' / MANIFEST).write_text(json.dumps(manifest))
        found = checkpoints.restore(3)
        assert found.step == 2 and 'state/rows is not what was saved' in found.problems[3]


def test_a_hash_by_parts_sees_every_part():
    array = np.arange(24.0).reshape(4, 6)
    whole = array_hash(array, '2x3')
    assert whole.startswith('2x3:') and whole != array_hash(array, '4x1')
    for place in np.ndindex(array.shape):
        other = array.copy()
        other[place] += 1
        assert array_hash(other, '2x3') != whole
