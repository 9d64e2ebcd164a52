"""What a device of a mesh takes in a step of a Llama of 8B shapes, on paper."""

import pathlib

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / 'scripts'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('devices', 'freeze'), [(8, 'full'), (64, 'full'), (256, 'full'), (64, 'lora:8')]
)
def test_a_device_takes_its_share_two_blocks_and_activations(devices, freeze, monkeypatch):
    """Four of the 32 blocks: with all, compilation takes minutes (results/benchmarks)."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from benchmarks.sharding_memory import WITHIN, compiled_row

    row = compiled_row(devices, freeze, tokens=1024, depth=4)
    assert row['devices seen'] == devices
    shares = 4 if freeze == 'full' else 1  # frozen leaves have no moments and no gradient
    kept = (row['held bytes'] + row['gradients bytes']) / (shares * 4 * row['parameters'] / devices)
    assert 1 <= kept < 1.05
    assert abs(row['ratio'] - 1) <= WITHIN
