import pytest

from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.families.vision.timm_config import pixels

VIT = {
    'do_resize': True,
    'size': {'height': 224, 'width': 192},
    'resample': 2,
    'do_rescale': True,
    'rescale_factor': 0.00392156862745098,
    'do_normalize': True,
    'image_mean': [0.5, 0.4, 0.3],
    'image_std': [0.5, 0.6, 0.7],
}
CLIP = {
    **VIT,
    'size': {'shortest_edge': 256},
    'do_center_crop': True,
    'crop_size': {'height': 224, 'width': 224},
    'resample': 3,
}


def test_vit_squashes():
    found = Preprocessing.from_huggingface(VIT)
    assert (found.image_size, found.resize, found.crop_fraction) == ((224, 192), 'squash', 1.0)
    assert (found.interpolation, found.mean, found.std) == (
        'bilinear',
        (0.5, 0.4, 0.3),
        (0.5, 0.6, 0.7),
    )


def test_clip_crops():
    found = Preprocessing.from_huggingface(CLIP)
    assert (found.image_size, found.resize, found.interpolation) == ((224, 224), 'crop', 'bicubic')
    assert found.crop_fraction == 224 / 256
    assert found.resized == (256, 256)


def test_deit_squashes_then_crops():
    found = Preprocessing.from_huggingface({**CLIP, 'size': {'height': 256, 'width': 256}})
    assert (found.resize, found.resized, found.image_size) == ('squash', (256, 256), (224, 224))


@pytest.mark.parametrize(
    'name, resize',
    [
        ('ViTImageProcessor', 'squash'),
        ('ViTFeatureExtractor', 'squash'),
        ('BeitImageProcessor', 'squash'),
        ('DeiTImageProcessorFast', 'squash'),
        ('EfficientNetImageProcessor', 'squash'),
        ('CLIPFeatureExtractor', 'crop'),
        ('BitImageProcessor', 'crop'),
        ('ConvNextImageProcessorFast', 'crop'),
        ('SiglipImageProcessor', 'crop'),
    ],
)
def test_a_bare_number_is_what_the_class_takes_it_for(name, resize):
    bare = {**VIT, 'size': 224}
    field = 'feature_extractor_type' if name.endswith('Extractor') else 'image_processor_type'
    assert Preprocessing.from_huggingface({**bare, field: name}).resize == resize
    assert Preprocessing.from_huggingface(bare, processor=name).resize == resize
    cut = {**bare, 'size': 256, 'do_center_crop': True, 'crop_size': 224, field: name}
    found = Preprocessing.from_huggingface(cut, processor='CLIPImageProcessor')
    assert (found.resize, found.resized, found.image_size) == (resize, (256, 256), (224, 224))


@pytest.mark.parametrize(
    'fraction, side', [(0.9, 248), (0.875, 256), (224 / 232, 232), (0.95, 235)]
)
def test_the_side_before_the_crop_is_rounded_down_as_in_transformers(fraction, side):
    found = Preprocessing(image_size=(224, 224), crop_fraction=fraction)
    assert found.resized == (side, side)
    assert Preprocessing.from_huggingface(found.to_huggingface()).resized == (side, side)


def test_crop_modes_of_timm():
    def read(mode):
        return pixels({'pretrained_cfg': {'crop_pct': 0.9, 'crop_mode': mode}}, (224, 224))

    assert [read(mode).resize for mode in ('center', 'squash', None)] == ['crop', 'squash', 'crop']
    with pytest.raises(UserError, match="crop_mode of timm: 'border'"):
        read('border')


@pytest.mark.parametrize('size, resize, fraction', [(224, 'crop', 0.875), (384, 'squash', 1.0)])
def test_convnext_crop_pct(size, resize, fraction):
    config = {**VIT, 'size': {'shortest_edge': size}, 'crop_pct': 0.875}
    found = Preprocessing.from_huggingface(config)
    assert (found.image_size, found.resize, found.crop_fraction) == ((size, size), resize, fraction)


def test_switches_turned_off():
    found = Preprocessing.from_huggingface({**VIT, 'do_normalize': False, 'do_rescale': False})
    assert (found.mean, found.std, found.scale) == ((0.0,) * 3, (1.0,) * 3, 1.0)


def test_an_old_config_with_a_bare_number_and_one_mean():
    found = Preprocessing.from_huggingface({'size': 32, 'image_mean': 0.5, 'image_std': [0.25]})
    assert (found.image_size, found.mean, found.std) == ((32, 32), (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize('config', [VIT, CLIP, {**CLIP, 'size': {'height': 256, 'width': 256}}])
def test_huggingface_round_trip(config):
    found = Preprocessing.from_huggingface(config)
    assert Preprocessing.from_huggingface(found.to_huggingface()) == found


def test_json_round_trip():
    found = Preprocessing.from_huggingface(CLIP)
    assert Preprocessing.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    'fields, message',
    [
        ({'image_size': (8, 8), 'mean': (0.5,)}, '3 channels'),
        ({'image_size': (8, 8), 'std': (0.5, 0.0, 0.5)}, 'std must be above 0'),
        ({'image_size': (8,)}, 'height, width'),
        ({'image_size': (8, 8), 'interpolation': 'bilinaer'}, "'bilinear'"),
        ({'image_size': (8, 8), 'resize': 'squish'}, "'squash'"),
    ],
)
def test_wrong_values(fields, message):
    with pytest.raises(UserError, match=message):
        Preprocessing(**fields)


def test_wrong_fields():
    with pytest.raises(UserError, match="'image_size'"):
        Preprocessing.from_json({'image_sise': [8, 8]})
    with pytest.raises(UserError, match='image_size is missing'):
        Preprocessing.from_json({'mean': [0.5]})
    with pytest.raises(UserError, match='no height or shortest_edge'):
        Preprocessing.from_huggingface({'size': {'longest_edge': 3}})
