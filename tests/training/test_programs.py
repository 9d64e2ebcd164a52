"""Compiled programs: shared by equal keys, and dropped before a process runs out of maps."""

import pathlib

import jax.numpy as jnp
import pytest

from ftjax.training import programs


def double(x):
    return 2 * x


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    monkeypatch.setattr(programs, '_PROGRAMS', type(programs._PROGRAMS)())


def test_equal_keys_share_a_program_and_other_shapes_do_not():
    one = programs.program('double', double, jnp.ones(2))
    assert programs.program('double', double, jnp.zeros(2)) is one
    assert programs.program('double', double, jnp.ones(3)) is not one
    assert one.call(jnp.ones(2)).tolist() == [2.0, 2.0]


def test_the_older_half_goes_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(programs, 'MOST', 4)
    made = [programs.program(i, double, jnp.ones(2)) for i in range(4)]
    programs.program(0, double, jnp.ones(2))  # used again: it stays
    programs.program(4, double, jnp.ones(2))
    assert len(programs._PROGRAMS) == 3
    assert programs.program(0, double, jnp.ones(2)) is made[0]
    assert programs.program(1, double, jnp.ones(2)) is not made[1]


def test_crowding_is_judged_by_the_maps_of_the_process():
    if pathlib.Path('/proc/self/maps').exists():
        assert programs.crowded(0.0)
    assert not programs.crowded(1.0)
