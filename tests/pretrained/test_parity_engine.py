"""The parity engine finds what it is there to find."""

import shutil

import parity_engine
import pytest
from safetensors.numpy import load_file, save_file

GOLDEN = parity_engine.GOLDENS / 'vit_odd'
QUERY, KEY = (f'vit.encoder.layer.0.attention.attention.{part}.weight' for part in ('query', 'key'))


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / 'case')
    return tmp_path / 'case'


def edit(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def test_swapped_tensors_are_found_from_their_stage_on(folder):
    def swap(tensors):
        tensors[QUERY], tensors[KEY] = tensors[KEY], tensors[QUERY]

    edit(folder / 'model' / 'model.safetensors', swap)
    parity = parity_engine.measure(folder)
    beyond = {s for s, error in parity.stages.items() if error > parity_engine.STAGE_TOLERANCE}
    assert beyond == {'block_00', 'norm', 'head'}
    with pytest.raises(AssertionError, match='block_00'):
        parity.check()


def test_a_wrong_gradient_is_found_in_its_leaf(folder):
    def scale(tensors):
        tensors[QUERY] = tensors[QUERY] * 1.001

    edit(folder / 'gradients' / 'model.safetensors', scale)
    with pytest.raises(AssertionError, match=r"beyond 0\.0001: \{'params/block_00/attn/query/ker"):
        parity_engine.measure(folder).check()
