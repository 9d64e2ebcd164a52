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


HALF, CLIP_MEAN = (0.5,) * 3, (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.parametrize(
    'name, size, mean, interpolation, resize, fraction',
    [
        ('ViT', (224, 224), HALF, 'bilinear', 'squash', 1),
        ('DeiT', (224, 224), HALF, 'bicubic', 'squash', 224 / 256),
        ('CLIP', (224, 224), CLIP_MEAN, 'bicubic', 'crop', 1),
        ('Bit', (224, 224), CLIP_MEAN, 'bicubic', 'crop', 1),
        ('ConvNext', (384, 384), HALF, 'bicubic', 'squash', 1),
        ('Beit', (224, 224), HALF, 'bicubic', 'squash', 1),
        ('Siglip', (224, 224), HALF, 'bicubic', 'squash', 1),
        ('EfficientNet', (346, 346), HALF, 'bicubic', 'squash', 1),
        ('DINOv3ViT', (224, 224), (0.485, 0.456, 0.406), 'bilinear', 'squash', 1),
        ('Levit', (224, 224), (0.485, 0.456, 0.406), 'bicubic', 'crop', 1),
    ],
)
@pytest.mark.parametrize('named', [True, False])
def test_what_a_file_leaves_out_is_the_classes_choice(
    name, size, mean, interpolation, resize, fraction, named
):
    fields = {'image_processor_type': f'{name}ImageProcessor'} if named else {}
    nulls = dict.fromkeys(('image_mean', 'image_std', 'resample', 'size', 'crop_size'))
    for given in (fields, {**fields, **nulls}):
        found = Preprocessing.from_huggingface(
            given, processor='' if named else f'{name}ImageProcessorFast'
        )
        got = (found.image_size, found.mean, found.interpolation, found.resize, found.crop_fraction)
        assert got == (size, mean, interpolation, resize, fraction)


def test_convnext_crops_below_384_without_saying_so():
    found = Preprocessing.from_huggingface(
        {'image_processor_type': 'ConvNextImageProcessor', 'size': {'shortest_edge': 224}}
    )
    assert (found.resize, found.resized) == ('crop', (256, 256))


@pytest.mark.torch
@pytest.mark.parametrize('name', ['ViT', 'DeiT', 'CLIP', 'ConvNext', 'Bit', 'Beit', 'Siglip'])
def test_defaults_are_those_of_transformers(name):
    transformers = pytest.importorskip('transformers')
    full = getattr(transformers, f'{name}ImageProcessorPil')().to_dict()
    fields = {'image_processor_type': f'{name}ImageProcessor'}
    want = {
        key: dict(value) if hasattr(value, 'keys') else value
        for key, value in full.items()
        if value is not None and key not in ('image_processor_type', 'data_format')
    }
    want = {key: list(value) if isinstance(value, tuple) else value for key, value in want.items()}
    if 'resample' in want:
        want['resample'] = int(want['resample'])
    whole = Preprocessing.from_huggingface({**want, **fields})
    assert Preprocessing.from_huggingface(fields) == whole


def test_an_oblong_crop_that_covers_has_no_place_in_transformers():
    oblong = Preprocessing(image_size=(64, 128), resize='crop')
    with pytest.raises(UserError, match='resized to cover 64x128 pixels'):
        oblong.to_huggingface('CLIPImageProcessor')
    with pytest.raises(UserError, match='crop_size 64x128'):
        Preprocessing.from_huggingface({**CLIP, 'crop_size': {'height': 64, 'width': 128}})
    squash = Preprocessing(image_size=(64, 128), resize='squash', crop_fraction=0.5)
    assert Preprocessing.from_huggingface(squash.to_huggingface('DeiTImageProcessor')) == squash


def test_a_crop_is_exported_as_a_class_that_crops():
    square = Preprocessing(image_size=(64, 64), resize='crop', crop_fraction=0.5)
    assert square.to_huggingface()['image_processor_type'] == 'BitImageProcessor'
    squash = Preprocessing(image_size=(64, 64), resize='squash')
    assert squash.to_huggingface()['image_processor_type'] == 'ViTImageProcessor'


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
