"""Meshes and their rules on one device: what is refused, and which rows a process reads."""

import jax
import numpy as np
import pytest
from collectives import collectives

from ftjax.config import Config, config_differences, read_config, template
from ftjax.data import Dataset, TrainStream
from ftjax.distributed import initialize, process_group
from ftjax.distributed.sharding import Sharding
from ftjax.errors import UserError

HLO = """
  %all-reduce.1 = f32[] all-reduce(%a), channel_id=1, to_apply=%add
  %ar = (f32[32,96]{1,0}, /*index=1*/bf16[96]{0:T(256)}) all-reduce(%b, %c), channel_id=2
  %ag-start = (u8[4]{0}, u8[32]{0}) all-gather-start(%d), dimensions={0}
  %ag-done = u8[32]{0} all-gather-done(%ag-start)
  ROOT %x = f32[32]{0} add(%all-reduce.1, %all-reduce.2)
"""


def test_what_is_exchanged_is_read_off_the_program():
    assert collectives(HLO) == [
        ('all-reduce', 4),
        ('all-reduce', 32 * 96 * 4 + 192),
        ('all-gather', 32),
    ]


@pytest.mark.parametrize(
    'values,words',
    [
        ({'mesh': {'dat': 1}}, ["'data'"]),
        ({'mesh': {'data': 0}}, ['config.mesh.data', '0']),
        ({'mesh_rules': [['block_.*']]}, ['mesh_rules', "'fsdp'"]),
        ({'mesh_rules': [['block_(', 'fsdp']]}, ['block_(']),
        ({'mesh_rules': [['block_.*', 'fsd']]}, ["'fsdp'"]),
    ],
)
def test_wrong_meshes_are_refused(values, words):
    with pytest.raises(UserError) as error:
        read_config(values)
    assert all(word in str(error.value) for word in words)


def test_a_mesh_is_of_the_devices_there_are():
    assert Sharding.of({}) == Sharding() and Sharding.of({'data': 1}).devices == jax.device_count()
    with pytest.raises(UserError, match='asks for 8 devices and there are 1'):
        Sharding.of({'data': 4, 'fsdp': 2})
    with pytest.raises(UserError, match='asks for 2 devices'):
        Sharding.of({'fsdp': 2})
    with pytest.raises(UserError, match=r'decides no leaf.*block_00/kernel'):
        Sharding.of({}, [('block/.*', 'fsdp')]).check(['block_00/kernel'], 8)
    assert read_config(template()).mesh == {}
    written = template(mesh={'data': 4, 'fsdp': None})  # the command line sets both axes
    assert [written.mesh.get_type(name) for name in ('data', 'fsdp')] == [int, int]
    assert read_config(written).mesh == {'data': 4}
    other = read_config(template(mesh={'fsdp': 2}))
    assert config_differences(Config(freeze=other.freeze), other) == ['mesh']


def test_processes_read_their_rows_of_the_same_batches():
    data = Dataset(
        name='d',
        kind='image',
        inputs=np.arange(10 * 16).reshape(10, 4, 4, 1).astype(np.uint8),
        labels=np.arange(10) % 2,
        class_names=('a', 'b'),
    )
    whole = TrainStream(data, 4, seed=1)
    parts = [whole.shared(np.array(rows)) for rows in ([0, 3], [1, 2])]
    for step in range(5):
        batch, both = whole.batch(step), [part.batch(step) for part in parts]
        assert all(np.array_equal(part['index'], batch['index']) for part in both)
        together = np.concatenate([part['inputs'] for part in both])[[0, 2, 3, 1]]
        assert np.array_equal(together, batch['inputs'])
        assert len(both[0]['labels']) == len(both[0]['mask']) == 2


def test_hosts_are_looked_for_only_where_there_are_several():
    step = {'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': 'n[1-2]', 'SLURM_PROCID': '0'}
    step |= {'SLURM_LOCALID': '0', 'SLURM_NTASKS': '2', 'SLURM_STEP_NUM_TASKS': '2'}
    assert initialize.slurm(step) and not initialize.slurm({})
    assert not initialize.slurm(step | {'SLURM_STEP_NUM_TASKS': '1'})
    assert not initialize.tpu_host({'JAX_PLATFORMS': 'cpu'})
    assert not initialize.start() and process_group.first() and not process_group.several()
    for given in (('h:1', None, None), ('h:1', 2, 2), ('h', 2, 0)):
        with pytest.raises(UserError, match='--'):
            initialize.start(*given)


def test_a_process_does_not_wait_for_ever_for_the_others(monkeypatch):
    found = {}

    def nobody_comes(**given):
        found.update(given)
        raise RuntimeError('DEADLINE_EXCEEDED: Barrier timed out.')

    monkeypatch.setattr(jax.distributed, 'initialize', nobody_comes)
    monkeypatch.setattr(jax.config, 'update', lambda *_: None)
    with pytest.raises(UserError, match=r'did not find each other: DEADLINE_EXCEEDED'):
        initialize.start('h:1', 2, 1)
    waits = {name: value for name, value in found.items() if name.endswith(('timeout', 'seconds'))}
    assert waits == {
        'initialization_timeout': 300,
        'heartbeat_timeout_seconds': 60,
        'shutdown_timeout_seconds': 60,
    }
