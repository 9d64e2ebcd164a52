"""Images and their masks are augmented with one geometry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.data.images.joint import augment_with_masks
from ftjax.data.images.on_device import augment
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError

MOVES = ('flip:1', 'pad_crop:2', 'affine:0.3')
MORE_MOVES = ('vertical_flip:1', 'shift:2', 'rotate:40', 'scale:0.3', 'perspective:0.5')
MORE_MOVES += ('random_resized_crop:0.4',)


@pytest.mark.parametrize('names', MOVES)
def test_a_mask_moves_as_its_image_does(names):
    """An image of its own mask, moved, is the moved mask wherever no two classes meet."""
    rows, columns = np.mgrid[:24, :24]
    mask = np.stack([(rows // 8 + columns // 6) % 3, (rows // 12 * 2 + columns // 12) % 3])
    mask, key = mask.astype(np.uint8), jax.random.key(3)
    hot = jnp.asarray(mask[..., None] == np.arange(3), jnp.float32)
    images, labels = jax.jit(augment_with_masks, static_argnums=3)(hot, mask, key, names)
    np.testing.assert_allclose(images, augment(hot, key, names), atol=1e-6)
    sure = np.asarray(images).max(axis=-1) > 0.75
    assert sure.mean() > 0.5 and (np.asarray(labels) != mask).mean() > 0.05
    np.testing.assert_array_equal(labels[sure], images.argmax(axis=-1)[sure])


@pytest.mark.slow
@pytest.mark.parametrize('names', MORE_MOVES)
def test_a_mask_moves_as_its_image_does_in_every_way(names):
    test_a_mask_moves_as_its_image_does(names)


def test_colours_leave_masks_as_they_are_and_several_moves_follow_one_another():
    rng, key = np.random.default_rng(0), jax.random.key(0)
    mask = rng.integers(0, 3, (2, 8, 8), np.uint8)
    images = jnp.asarray(rng.integers(0, 255, (2, 8, 8, 1), np.uint8))
    names = 'flip:1,brightness:0.1,vertical_flip:1'
    _, both = jax.jit(augment_with_masks, static_argnums=3)(images, mask, key, names)
    np.testing.assert_array_equal(both, mask[:, ::-1, ::-1])


@pytest.mark.parametrize(
    ('names', 'words'),
    [
        ('rand_augment', "'rand_augment' does not say whether it moves pixels"),
        ('mixup', "'mixup' is not for images with masks"),
        ('word_swap', "'word_swap' is not for images with masks"),
    ],
)
def test_augmentations_that_masks_cannot_follow_are_refused_with_the_config(names, words):
    with pytest.raises(UserError, match=words):
        DataSettings(task='segmentation', augment=names)
