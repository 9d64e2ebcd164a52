"""Runs on a Ray cluster whose devices are told of and not there: where they go, and their rows."""

import collections
import dataclasses
import os

import pytest
from test_cells import CLOCKS, flat
from toy_cells import SETTINGS, Toy, ToyNeeds

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.device_needs import DeviceNeeds
from ftjax.ablation.engines.factory import make_engine
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError

pytestmark = pytest.mark.slow
TABLE = {
    'init': '',
    'model': {'name': 'mlp', 'width': 256},
    'data': {
        'source': 'breast_cancer',
        'features': ('*',),
        'batch_size': 16,
        'eval_batch_size': 16,
    },
    'train': {'steps': 4, 'steps_per_call': 1},
    'optimizer': {'name': 'sgd', 'learning_rate': 0.1},
}
SIZES = {'head': {1: 0.1}, 'full': {1: 12.0, 2: 6.0}}


@pytest.fixture
def devices(cluster, monkeypatch):
    """A cluster of one machine with four cores and two devices."""
    import ray

    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    options = {'include_dashboard': False, 'log_to_driver': False}
    ray.init('local', num_cpus=4, num_gpus=2, **options)
    yield
    ray.shutdown()


def run(folder, toy, needs=None, engine=None):
    return run_grid(SETTINGS, toy, folder, {}, progress=False, needs=needs, engine=engine)


def places(file):
    """{(arm, devices that a cell of it may use): cells}."""
    return collections.Counter(tuple(line.split()) for line in file.read_text().splitlines())


def test_every_arm_gets_the_devices_that_it_needs_and_the_rows_are_those_of_one_process(
    tmp_path, devices
):
    whole = run(tmp_path / 'whole', Toy())
    toy = Toy(places=str(tmp_path / 'places'))
    # One that fits nowhere ends the grid before its first run.
    large = ToyNeeds(toy, {**SIZES, 'full': {1: 40.0, 2: 20.0}})
    with pytest.raises(UserError, match=r'needs 40.00 GiB on a device; needs 20.00 GiB on each of'):
        run(tmp_path / 'none', toy, large, make_engine('ray'))
    assert not (tmp_path / 'places').exists()
    rows = run(tmp_path / 'parts', toy, ToyNeeds(toy, SIZES), make_engine('ray'))
    for row, other in zip(rows, whole, strict=True):
        row.pop('workers', None)
        assert row == {**other, **({'devices': 2} if row['arm'] == 'full' else {})}
    found = places(tmp_path / 'places')
    assert {(arm, count) for arm, count in found} == {('full', '2'), ('head', '1'), ('none', '0')}
    assert sum(found.values()) == len(rows)
    # By hand: nothing is forecast, and a run that would not fit is the user's to know of.
    toy = dataclasses.replace(toy, places=str(tmp_path / 'by_hand'))
    needs = ToyNeeds(toy, {}, devices={'full': 1.0, 'head': 0.5})
    run(tmp_path / 'hand', toy, needs, make_engine('ray'))
    assert set(places(tmp_path / 'by_hand')) == {('full', '1'), ('head', '1'), ('none', '0')}


class FakeDevices:
    """Called in a worker before its first job: as many CPU devices as Ray gave it."""

    def __call__(self):
        count = len(os.environ.get('CUDA_VISIBLE_DEVICES', '0').split(','))
        os.environ['XLA_FLAGS'] = f'--xla_force_host_platform_device_count={count}'


def test_runs_that_need_two_devices_get_them_and_heads_share_one(tmp_path, devices):
    # Of 12 MB nine tenths may be filled: `full` takes 12.8 on one device and 9 on each of two.
    settings = AblationSettings(
        arms={'full': 'full', 'head': {'freeze': 'head', 'train.cache': 'on'}},
        rates=(0.1,),
        seeds=(0,),
        max_extra=0,
        device_memory='12MB',
    )
    runner = CellRunner(TABLE, settings)

    def rows_in(folder, **how):
        return run_grid(settings, runner, tmp_path / folder, {}, progress=False, **how)

    whole = rows_in('whole')
    engine = make_engine('ray', start=FakeDevices())
    rows = rows_in('parts', engine=engine, needs=DeviceNeeds(runner))
    assert [row.pop('devices', 1) for row in rows] == [2, 1]
    clocks = {*CLOCKS, 'cell_seconds', 'workers', 'optimizer_bytes', 'examples', 'scores'}
    for row, other in zip(rows, whole, strict=True):
        assert row['status'] == 'ok' and row['frozen_unchanged']
        found, want = (
            {key: value for key, value in flat(one).items() if key.split('/')[1] not in clocks}
            for one in (row, other)
        )
        assert found.keys() == want.keys()
        for key, value in found.items():
            if row['arm'] == 'head' or not isinstance(value, float):
                assert value == want[key], key  # bit for bit: one device, as in one process
            else:
                assert value == pytest.approx(want[key], rel=1e-4), key


def test_a_lost_machine_costs_no_run(tmp_path, cluster, monkeypatch):
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
    whole = run(tmp_path / 'whole', Toy())
    made = Cluster(initialize_head=True, head_node_args={'num_cpus': 1, 'num_gpus': 1})
    other = made.add_node(num_cpus=1, num_gpus=1)
    try:
        ray.init(made.address, log_to_driver=False)
        toy = Toy(seconds=0.5)
        needs = ToyNeeds(toy, {}, devices={'full': 1.0, 'head': 1.0})
        lost = []

        class Watched(Noted):
            def take(self, row):
                if not lost and row['arm'] == 'full':
                    lost.append(row)
                    made.remove_node(other, allow_graceful=False)

        rows = run_grid(
            SETTINGS,
            toy,
            tmp_path / 'parts',
            {},
            progress=False,
            needs=needs,
            engine=make_engine('ray', 2),
            identities=Watched(),
        )
    finally:
        ray.shutdown()
        made.shutdown()
    assert lost
    for row, other in zip(rows, whole, strict=True):
        assert row == {**other, 'workers': 2}


class Noted:
    """In the place of identities: told of every row."""

    def check(self, rows, folder):
        pass
