"""Masks on new images: those of an evaluation, of the images' own size, whole or by windows."""

import numpy as np
import pytest
from PIL import Image

from ftjax.config import read_config
from ftjax.data import load_data
from ftjax.errors import UserError
from ftjax.runs.prediction.answer_options import answer_options
from ftjax.runs.prediction.mask_files import write_masks
from ftjax.runs.prediction.prediction_files import write_predictions
from ftjax.runs.prediction.trained import open_trained
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.tasks.pixels.pixel_counts import confusion

NETWORK = {'name': 'vit', 'image_size': 16, 'patch_size': 4, 'width': 16, 'depth': 2, 'heads': 2}
SIZES = ((20, 24), (16, 16), (12, 30), (31, 17), (18, 18), (20, 20))
COLOURS = ('#102030', '#ff0000', '#00ff00')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images of three shades with masks, in train, val and test."""
    draw, root = np.random.default_rng(0), tmp_path_factory.mktemp('pictures')
    for split in ('train', 'val', 'test'):
        for number, (rows, columns) in enumerate(SIZES):
            mask = draw.integers(0, 3, (rows // 4 + 1, columns // 4 + 1)).repeat(4, 0).repeat(4, 1)
            mask = mask[:rows, :columns].astype(np.uint8)
            image = (80 * mask[..., None] + draw.integers(0, 60, (rows, columns, 3))).astype(
                np.uint8
            )
            mask[draw.random(mask.shape) < 0.1] = 255
            for below, pixels in (('images', image), ('masks', mask)):
                path = root / split / below
                path.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path / f'{number}.png')
    return root


def trained_in(folder, into, **data):
    prepared = prepare(
        read_config(
            {
                'init': '',
                'model': {**NETWORK, 'head': 'linear', 'pool': 'mean'},
                'data': {
                    'source': f'masks:{folder}',
                    'task': 'segmentation',
                    'image_size': (16, 16),
                    'batch_size': 2,
                    'eval_batch_size': 4,
                    'palette': COLOURS,
                    **data,
                },
                'train': {'steps': 6, 'eval_every': 2.0},
                'optimizer': {'learning_rate': 3e-3},
            }
        )
    )
    return prepared, train(prepared, into, progress=False)[1]


@pytest.mark.slow
@pytest.mark.parametrize('data', [{}, {'sliding': 0.25}])
def test_masks_that_are_written_are_those_that_were_measured(folder, tmp_path, data):
    prepared, result = trained_in(folder, tmp_path / 'run', **data)
    trained = open_trained(str(tmp_path / 'run'))
    output = tmp_path / 'masks'
    done = write_masks(trained, str(folder / 'test' / 'images'), output, progress=False)
    assert done.rows == len(SIZES) and not done.failed
    total = np.zeros((3, 3), int)
    for number, size in enumerate(SIZES):
        with Image.open(output / f'{number}.png') as image:
            assert image.mode == 'P' and image.size == size[::-1]
            assert image.getpalette()[:6] == [16, 32, 48, 255, 0, 0]
            answer = np.array(image)
        label = np.array(Image.open(folder / 'test' / 'masks' / f'{number}.png'))
        total += confusion(label, answer, 3)
    np.testing.assert_array_equal(total, result['metrics']['pixel_confusion'])
    assert result['metrics']['n'] == len(SIZES)
    page = (tmp_path / 'run' / 'report.html').read_text()
    assert page.count('<img alt=') == len(SIZES) and 'mIoU of an image' in page
    assert len(prepared.data.train) == (len(SIZES) if not data else len(prepared.data.train))
    with pytest.raises(UserError, match='is there already and not empty'):
        write_masks(trained, str(folder / 'test' / 'images'), output, progress=False)
    table, options = tmp_path / 'rows.csv', answer_options(trained)[0]
    if data:
        with pytest.raises(UserError, match='its answers are masks'):
            write_predictions(trained, str(folder / 'test' / 'images'), table, options)
        return
    write_predictions(trained, str(folder / 'test' / 'images'), table, options, progress=False)
    assert table.read_text().startswith('id,predicted,share:0,share:1,share:2\n')
    read = load_data(prepared.config.data)
    assert read.test.fingerprint == prepared.data.test.fingerprint


@pytest.mark.slow
def test_a_network_that_answers_images_writes_no_masks(folder, tmp_path):
    trained = open_trained('glyphs')
    with pytest.raises(UserError, match='glyphs answers each input as a whole'):
        write_masks(trained, str(folder), tmp_path / 'masks', progress=False)
