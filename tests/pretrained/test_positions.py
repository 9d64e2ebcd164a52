import pathlib

import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.pretrained.positions import grid_of, resize_table, weights

GOLDENS = np.load(pathlib.Path(__file__).parent / 'goldens' / 'positions.npz')


@pytest.mark.parametrize('index', range(int(GOLDENS['count'])))
def test_equals_torch_interpolate(index):
    grid, expected = GOLDENS[f'grid_{index}'], GOLDENS[f'resized_{index}']
    method, antialias = GOLDENS[f'case_{index}']
    source, target = grid.shape[:2], tuple(int(n) for n in GOLDENS[f'target_{index}'])
    resized = resize_table(
        grid.reshape(1, -1, 2), source, target, method=str(method), antialias=antialias == 'True'
    )
    np.testing.assert_allclose(resized[0], expected.reshape(-1, 2), rtol=0, atol=1e-12)


def test_prefix_rows_are_copied_and_dtype_kept():
    table = np.random.default_rng(0).normal(size=(1, 2 + 16, 5)).astype(np.float32)
    resized = resize_table(table, (4, 4), (2, 8), prefix_tokens=2)
    assert resized.shape == (1, 18, 5)
    assert resized.dtype == np.float32
    np.testing.assert_array_equal(resized[:, :2], table[:, :2])
    assert not np.array_equal(resized[:, 2:], table[:, 2:])


@pytest.mark.parametrize('method', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('antialias', [False, True])
def test_a_constant_stays_constant(method, antialias):
    for source, target in ((7, 3), (3, 7), (5, 5), (1, 4)):
        rows = weights(source, target, method, antialias).sum(axis=1)
        np.testing.assert_allclose(rows, 1, atol=1e-12)


def test_grids():
    assert grid_of(197, 1, None) == (14, 14)
    assert grid_of(26, 2, (4, 6)) == (4, 6)
    with pytest.raises(UserError, match='no square grid'):
        grid_of(196, 1, None)
    with pytest.raises(UserError, match='no 4x6 grid'):
        grid_of(24, 1, (4, 6))
    with pytest.raises(UserError, match='bicubic'):
        weights(3, 4, 'bicubc', False)
