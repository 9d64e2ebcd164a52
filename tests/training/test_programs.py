"""Compiled programs: shared by equal keys, and dropped before a process runs out of maps."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import pytest

from ftjax.xla import program_cache


def double(x):
    return 2 * x


@dataclasses.dataclass(frozen=True)
class Times:
    """A program that is its own key."""

    factor: int

    def __call__(self, x):
        return self.factor * x


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    monkeypatch.setattr(program_cache, '_PROGRAMS', type(program_cache._PROGRAMS)())


def test_equal_keys_share_a_program_and_other_shapes_do_not():
    one = program_cache.program(double, jnp.ones(2))
    assert program_cache.program(double, jnp.zeros(2)) is one
    assert program_cache.program(double, jnp.ones(3)) is not one
    assert one.call(jnp.ones(2)).tolist() == [2.0, 2.0]
    assert program_cache.program(Times(3), jnp.ones(2)) is program_cache.program(
        Times(3), jnp.zeros(2)
    )


def test_where_the_outputs_lie_belongs_to_the_key():
    """Else a test split in parts would take the program of a validation that has all outputs."""
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    one = program_cache.program(double, jnp.ones(2))
    other = program_cache.program(double, jnp.ones(2), places=here)
    assert other is not one
    assert program_cache.program(double, jnp.zeros(2), places=here) is other


@pytest.mark.slow  # it clears the caches of all tests in the process
def test_the_older_half_goes_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(program_cache, 'MOST', 4)
    made = [program_cache.program(Times(i), jnp.ones(2)) for i in range(4)]
    program_cache.program(Times(0), jnp.ones(2))  # used again: it stays
    program_cache.program(Times(4), jnp.ones(2))
    assert len(program_cache._PROGRAMS) == 3
    assert program_cache.program(Times(0), jnp.ones(2)) is made[0]
    assert program_cache.program(Times(1), jnp.ones(2)) is not made[1]


def test_crowding_is_judged_by_the_maps_of_the_process():
    if pathlib.Path('/proc/self/maps').exists():
        assert program_cache.crowded(0.0)
    assert not program_cache.crowded(1.0)


def test_an_augmentation_that_is_registered_anew_is_another_step():
    from tiny_runs import VIT, initial

    from ftjax.freezing import make_plan
    from ftjax.registry import PARTS, register
    from ftjax.training.step.run_spec import RunSpec

    variables = initial(VIT)
    spec = RunSpec(VIT, variables, make_plan('head', VIT, variables), augmentation='darker')
    made = []
    for _ in range(2):
        register('augmentation', 'darker')(lambda image, key: image / 2)
        made += [spec.train_step(spec.plan.at(0)) for _ in range(2)]
    assert made[0] == made[1] and hash(made[0]) == hash(made[1])
    assert made[0] != made[2]
    del PARTS['augmentation']['darker']
