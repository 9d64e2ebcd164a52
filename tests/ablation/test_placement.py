"""Which run gets how much of a cluster's devices: limits, sums, and errors before the first run."""

import collections
import dataclasses

import pytest
from toy_cells import Toy, ToyNeeds

from ftjax.ablation.engines.engine import Work
from ftjax.ablation.engines.placement import (
    MOST_ON_A_DEVICE,
    USED,
    Machine,
    Need,
    Place,
    Share,
    counts,
    place,
    refusal,
    share_by_hand,
    share_of,
)
from ftjax.ablation.engines.ray_workers import RayServer
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError
from ftjax.training.cost.memory_limit import device_limit

GIB = 2**30
FOUR = Machine('four', cpus=32, devices=4, memory=16 * GIB)
ONE = Machine('one', cpus=8, devices=1, memory=80 * GIB)
BARE = Machine('bare', cpus=4)


def filled(share, machines, most=1000):
    """Places of as many workers of a share as there is room for."""
    taken = []
    while (found := place(share, taken, machines)) is not None and len(taken) < most:
        taken.append(found)
    return taken


def test_a_run_gets_a_device_and_heads_on_stored_features_share_one():
    assert share_of(Need(GIB), 1, [FOUR]) == Share(1.0, GIB)
    # 14.4 GiB may be filled: seven of 2 GiB, at most eight however small they are.
    assert share_of(Need(2 * GIB, stored=True), 1, [FOUR]) == Share(0.1428, 2 * GIB)
    assert share_of(Need(1, stored=True), 1, [FOUR]).devices == 1 / MOST_ON_A_DEVICE
    assert share_of(Need(8 * GIB, stored=True), 1, [FOUR]).devices == 1.0
    # No more share a device than there are workers for: else most devices would stay idle.
    assert share_of(Need(1, stored=True), 1, [FOUR], workers=4).devices == 1.0
    assert share_of(Need(1, stored=True), 1, [FOUR], workers=8).devices == 0.5
    # Whole runs share one where more workers are asked for, and fit.
    assert share_of(Need(4 * GIB), 1, [FOUR], workers=12).devices == 0.3333
    assert share_of(Need(10 * GIB), 1, [FOUR], workers=12).devices == 1.0


@pytest.mark.parametrize('sharing', range(1, MOST_ON_A_DEVICE + 1))
def test_fractions_of_a_device_add_up(sharing):
    share = share_of(Need(int(USED * 16 * GIB) // sharing, stored=True), 1, [FOUR])
    assert share.devices * sharing <= 1 < share.devices * (sharing + 1)
    taken = filled(share, [FOUR])
    assert len(taken) == min(4 * sharing, FOUR.cpus)
    per_device = collections.Counter(one.devices[0] for one in taken)
    assert set(per_device.values()) == {sharing}


def test_the_limit_is_a_share_of_what_the_device_has():
    fits = int(USED * FOUR.memory)
    assert share_of(Need(fits), 1, [FOUR]) == Share(1.0, fits)
    assert share_of(Need(fits + 1), 1, [FOUR]) is None
    # A device that does not say how much it has takes one run, whatever that needs.
    unknown = dataclasses.replace(FOUR, memory=None)
    assert share_of(Need(10**15, stored=True), 1, [unknown]).devices == 1.0
    assert share_of(Need(1), 1, [BARE]) is None and counts([BARE]) == []


def test_what_does_not_fit_one_device_gets_several_of_one_machine():
    assert counts([FOUR, ONE]) == [1, 2, 4]
    assert share_of(Need(15 * GIB), 2, [FOUR, ONE]) is None
    share = share_of(Need(9 * GIB), 2, [FOUR, ONE])
    assert share == Share(2.0, 9 * GIB, fsdp=2)
    assert filled(share, [FOUR, ONE]) == [Place('four', (0, 1), 1.0), Place('four', (2, 3), 1.0)]


def test_a_place_is_on_devices_that_are_large_enough_and_free():
    large = share_of(Need(40 * GIB), 1, [FOUR, ONE, BARE])
    assert [one.machine for one in filled(large, [FOUR, ONE, BARE])] == ['one']
    # What fits everywhere leaves the large device free for as long as it can.
    small = [one.machine for one in filled(Share(1.0, GIB), [ONE, FOUR, BARE])]
    assert small == ['four'] * 4 + ['one']
    # Parts of a device fill one that is begun: a whole run still finds a free one.
    half = place(Share(0.5), [], [FOUR])
    assert place(Share(0.5), [half], [FOUR]).devices == half.devices
    others = filled(Share(1.0), [FOUR])
    assert place(Share(0.5), others[1:], [FOUR]).devices == others[0].devices
    assert place(Share(2.0), others[1:], [FOUR]) is None
    # Cores limit too, and a run that needs no device takes nothing but one.
    assert len(filled(Share(0.25), [dataclasses.replace(FOUR, cpus=3)])) == 3
    assert [one.machine for one in filled(Share(), [BARE])] == ['bare'] * 4
    assert place(Share(1.0), [], []) is None


def test_a_run_that_fits_nowhere_is_told_what_it_needs_and_what_there_is():
    found = {1: Need(100 * GIB), 2: Need(60 * GIB), 4: 'a batch of 6 cannot be shared out'}
    error = str(refusal('full', found, [FOUR]))
    for words in (
        "arm 'full' needs 100.00 GiB on a device",
        '60.00 GiB on each of 2 (mesh.fsdp=2)',
        'cannot run on each of 4 (mesh.fsdp=4): a batch of 6 cannot be shared out',
        'the largest device of the cluster has 16.00 GiB',
        'scripts/plan.py',
        'config.ablation.devices_per_run',
    ):
        assert words in error
    assert '\n' not in error


def test_a_config_decides_by_hand():
    assert share_by_hand(0.25, 0, [FOUR], 'x') == Share(0.25)
    assert share_by_hand(2, 0, [FOUR], 'x') == Share(2.0, fsdp=2)
    # The mesh that a config names stays as it is.
    assert share_by_hand(2, 2, [FOUR], 'x') == Share(2.0, fsdp=1)
    with pytest.raises(UserError, match='x is 8, and no machine of the cluster has more than 4'):
        share_by_hand(8, 0, [FOUR], 'x')
    with pytest.raises(UserError, match=r'x is 1, and config.mesh asks for 2 devices'):
        share_by_hand(1, 2, [FOUR], 'x')


def settings(**more):
    given = {'arms': {'full': 'full', 'head': 'head'}, 'rates': (0.1,), **more}
    return AblationSettings(**given)


def test_devices_of_an_arm_are_its_own_or_the_common_ones_and_decide_no_row():
    own = {'full': 'full', 'head': {'freeze': 'head', 'devices_per_run': 0.25}}
    found = settings(arms=own, devices_per_run=2)
    assert [found.devices_of(arm) for arm in own] == [2, 0.25]
    assert found.changes('head') == {'freeze': 'head'} == settings().changes('head')
    assert found.rows_hold == settings().rows_hold
    assert settings().devices_of('full') is None


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ({'devices_per_run': 1.5}, "of arm 'full' is 1.5; expected a share of a device"),
        ({'devices_per_run': 0}, 'devices_per_run is 0; expected a number'),
        ({'arms': {'a': {'freeze': 'head', 'devices_per_run': 'all'}}}, "of arm 'a' is 'all'"),
        ({'device_memory': 'much'}, "config.ablation.device_memory is 'much'; expected a size"),
    ],
)
def test_devices_that_cannot_be_are_refused(more, words):
    with pytest.raises(UserError, match=words):
        settings(**more)


def test_the_other_end_says_what_its_devices_have_and_what_runs_need(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0')
    toy = Toy()
    server = RayServer(Work(toy, None, ToyNeeds(toy, {'full': {1: 2.0}, 'head': {1: 0.5}})))
    assert server.memory().answer == device_limit()
    found = server.forecast({'full': 1, 'head': 3}, None).answer
    assert found == {'full': Need(2 * GIB), 'head': Need(GIB // 2, stored=True)}
    (row,) = RayServer(Work(toy), devices=2).attempt((('full', 0.1, 0),)).rows
    assert row['devices'] == 2 and row['arm'] == 'full'
