"""The baseline on raw pixels takes images in files as it takes arrays."""

import numpy as np
from PIL import Image

from ftjax.ablation.cells.baselines import Pixels
from ftjax.ablation.settings import AblationSettings
from ftjax.data.dataset import Dataset, Splits

SETTINGS = AblationSettings(arms={'pixels': {'baseline': 'pixels'}})


def test_images_in_files_give_the_row_of_their_pixels(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    images = rng.integers(0, 120, (24, 32, 32, 3), np.uint8) + (100 * labels)[:, None, None, None]
    paths = [str(tmp_path / f'{place}.png') for place in range(24)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.astype(np.uint8)).save(path)
    common = {'name': 'd', 'labels': labels, 'class_names': ('dark', 'light')}
    arrays = Dataset(kind='image', inputs=images.astype(np.uint8), **common)
    files = Dataset(kind='image_file', inputs=paths, **common)
    rows = []
    for whole in (arrays, files):
        parts = {'train': range(12), 'val': range(12, 18), 'test': range(18, 24)}
        data = Splits(**{name: whole.take([*places]) for name, places in parts.items()})
        Pixels().check(data, None, SETTINGS)
        rows.append(Pixels().row(data, None, SETTINGS))
    assert rows[0]['test'] == rows[1]['test'] and rows[0]['test']['accuracy'] == 1.0
    assert rows[0]['val'] == rows[1]['val'] and rows[0]['penalty'] == rows[1]['penalty']
