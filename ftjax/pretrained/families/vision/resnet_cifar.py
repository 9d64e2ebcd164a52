"""CIFAR-10 ResNets under PyTorch names: MEMO's ResNet-26 (GroupNorm), He's ResNet-20 (BatchNorm).

Neither comes with a config.json. Names and layouts are those of github.com/zhangmarvin/memo
and github.com/akamaster/pytorch_resnet_cifar10; the second's names keep the prefix 'module.'
of the DataParallel wrapper they were saved from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.registry import build, options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.keymaps.keymap import KeyMap, batch_norm, conv, dense, norm
from ftjax.pretrained.readers import TensorSource

CIFAR10 = (
    *('airplane', 'automobile', 'bird', 'cat', 'deer'),
    *('dog', 'frog', 'horse', 'ship', 'truck'),
)

IN_TRANSFORMERS = False
# Fields of a config.json that are not the network's.
_BOOKKEEPING = ('model_type', 'architectures', 'id2label', 'label2id')
_SOURCE_BLOCK, _BLOCK = 'layer{stage}.{block}', 'stage{stage}_block{block}'
_CONVOLUTIONS = (
    *conv('conv1', 'stem/conv', bias=False),
    *conv(f'{_SOURCE_BLOCK}.conv1', f'{_BLOCK}/conv1', bias=False),
    *conv(f'{_SOURCE_BLOCK}.conv2', f'{_BLOCK}/conv2', bias=False),
)

GROUP_NORM = KeyMap(
    'resnet_gn_cifar',
    (
        *_CONVOLUTIONS,
        *norm(f'{_SOURCE_BLOCK}.bn1', f'{_BLOCK}/norm1'),
        *norm(f'{_SOURCE_BLOCK}.bn2', f'{_BLOCK}/norm2'),
        *norm('bn', 'norm/norm'),
        *dense('fc', 'head/dense'),
    ),
    prefixes=('module.',),
)

BATCH_NORM = KeyMap(
    'resnet_bn_cifar',
    (
        *_CONVOLUTIONS,
        *batch_norm('bn1', 'stem/norm'),
        *batch_norm(f'{_SOURCE_BLOCK}.bn1', f'{_BLOCK}/norm1'),
        *batch_norm(f'{_SOURCE_BLOCK}.bn2', f'{_BLOCK}/norm2'),
        *dense('linear', 'head/dense'),
    ),
    unused=(r'.*\.num_batches_tracked',),
    prefixes=('module.',),
)


def key_map(config: Mapping[str, object]) -> KeyMap:
    """The map of the variant that config['model_type'] names."""
    return GROUP_NORM if config['model_type'] == 'resnet_gn_cifar' else BATCH_NORM


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network; config holds its fields beside 'model_type' and what transformers adds."""
    options = {key: value for key, value in config.items() if key not in _BOOKKEEPING}
    return build(config['model_type'], {**options, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The inverse of `network_from_config`; these networks have no place for labels."""
    del labels
    name, options = options_of(network)
    return {'model_type': name, **options}


def config_from_tensors(source: TensorSource) -> JsonObject:
    """Variant, depth, width, channels and classes, read off names and shapes."""
    names = {name.removeprefix('module.'): name for name in source.names}
    group_norm = 'bn.bias' in names
    stem = source.shape(names['conv1.weight']) if 'conv1.weight' in names else (16, 3, 3, 3)
    head = names.get('fc.weight' if group_norm else 'linear.weight')
    count = 1 + max(int(n.split('.')[1]) for n in names if n.startswith('layer3.'))
    return {
        'model_type': 'resnet_gn_cifar' if group_norm else 'resnet_bn_cifar',
        'depth': 6 * count + 2,
        'width': stem[0],
        'channels': stem[1],
        'num_classes': source.shape(head)[0] if head else 0,
    }


def preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """What each variant was trained with: 32x32 RGB."""
    if config['model_type'] == 'resnet_gn_cifar':
        return Preprocessing(image_size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    return Preprocessing(image_size=(32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def class_names(config: Mapping[str, object]) -> tuple[str, ...]:
    """CIFAR-10's, for a head of ten classes."""
    return CIFAR10 if config.get('num_classes', 10) == 10 else ()
