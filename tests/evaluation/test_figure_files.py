"""Figures as files: small where they hold lines, unchanged where they hold photographs."""

import io

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from ftjax.plotting.save import figure_bytes, with_palette


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert('RGB'), np.int16)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'PNG')
    return buffer.getvalue()


def test_lines_and_text_take_a_palette_and_look_the_same():
    figure, axes = plt.subplots()
    axes.plot([0, 1, 2], [0, 3, 1])
    axes.set_title('accuracy')
    small = figure_bytes(figure)
    plt.close(figure)
    assert Image.open(io.BytesIO(small)).mode == 'P'
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=160)
    assert len(small) < len(buffer.getvalue())
    assert np.abs(pixels(small) - pixels(buffer.getvalue())).mean() < 0.5


def test_a_photograph_keeps_its_colours():
    smooth = np.add.outer(np.linspace(0, 255, 200), np.zeros(200))
    image = np.stack([smooth, smooth.T, 255 - smooth], -1).astype(np.uint8)
    assert with_palette(png(image)) == png(image)


def test_the_smaller_of_the_two_is_written():
    plain = png(np.zeros((2, 2, 3), np.uint8))
    assert len(with_palette(plain)) <= len(plain)


@pytest.mark.parametrize('kind', ['png', 'svg'])
def test_the_background_is_white_whatever_the_users_settings_say(kind):
    own = {'savefig.transparent': True, 'savefig.facecolor': 'black', 'figure.facecolor': 'none'}
    with matplotlib.rc_context(own):
        figure = plt.figure(figsize=(1, 1))
        made = figure_bytes(figure, kind)
    plt.close(figure)
    if kind == 'svg':
        assert b'fill: #ffffff' in made
        return
    image = Image.open(io.BytesIO(made)).convert('RGBA')
    assert image.getextrema() == ((255, 255),) * 4


def test_no_committed_picture_is_transparent(repository):
    pictures = sorted((repository / 'results').rglob('*.png'))
    assert len(pictures) > 50
    for path in pictures:
        with Image.open(path) as image:
            assert 'transparency' not in image.info, path
            if 'A' in image.mode:
                assert image.getchannel('A').getextrema() == (255, 255), path
