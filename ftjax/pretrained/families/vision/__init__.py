"""Families of image networks under the names of those who published them."""

from ftjax.pretrained.families.row import Row

# In the order in which they are tried. The key is the module's name in this folder.
ROWS = {
    'deit': Row(
        models=('deit',),
        model_types=('deit',),
        architectures=(r'deit_(tiny|small|base)_distilled_patch\d+_\d+(\..*)?',),
        tensors=(r'dist_token', r'blocks\.0\.attn\.qkv\.weight'),
    ),
    'vit': Row(
        models=('vit',),
        model_types=('vit',),
        architectures=(r'vit_(tiny|small|base|large|huge)_patch\d+_\d+(\..*)?',),
        # timm, torchvision, AugReg; after DeiT, whose names in timm are these and more.
        tensors=(
            r'patch_embed\.proj\.weight|conv_proj\.weight|embedding/kernel',
            r'blocks\.0\.attn\.qkv\.weight|encoder\.layers\.encoder_layer_0\.ln_1\.weight'
            r'|Transformer/encoderblock_0/LayerNorm_0/scale',
            r'cls_token|class_token|cls',
        ),
    ),
    'dinov2': Row(models=('dinov2',), model_types=('dinov2', 'dinov2_with_registers')),
    'clip': Row(models=('clip_vision',), model_types=('clip', 'clip_vision_model')),
    'dinov3': Row(
        models=('dinov3',),
        model_types=('dinov3_vit',),
        architectures=(
            r'vit_(small|small_plus|base|large|huge_plus)_patch16_dinov3(_qkvb)?(\..*)?',
        ),
    ),
    'dinov3_convnext': Row(model_types=('dinov3_convnext',)),
    'siglip': Row(models=('siglip_vision',), model_types=('siglip', 'siglip_vision_model')),
    'siglip2': Row(model_types=('siglip2', 'siglip2_vision_model')),
    'vit_mae': Row(model_types=('vit_mae',)),
    'beit': Row(
        models=('beit',),
        model_types=('beit',),
        architectures=(r'beit_(base|large)_patch\d+_\d+(\..*)?',),
    ),
    'swin': Row(models=('swin',), model_types=('swin',)),
    'swinv2': Row(
        models=('swinv2',),
        model_types=('swinv2',),
        architectures=(r'swinv2_(tiny|small|base|large)_window\d+(to\d+)?_\d+(to\d+)?(\..*)?',),
    ),
    'convnextv2': Row(
        models=('convnextv2',),
        model_types=('convnextv2',),
        architectures=(r'convnextv2_(atto|femto|pico|nano|tiny|small|base|large|huge)(\..*)?',),
    ),
    'convnext': Row(
        models=('convnext',),
        model_types=('convnext',),
        architectures=(r'convnext_(tiny|small|base|large|xlarge)(\..*)?',),
        tensors=(
            r'stages\.0\.blocks\.0\.conv_dw\.weight|features\.1\.0\.block\.5\.weight',
            r'stem\.0\.weight|features\.0\.0\.weight',
        ),
    ),
    'resnet': Row(
        models=('resnet',),
        model_types=('resnet',),
        architectures=(r'resnet(18|34|50|101|152)(\..*)?',),
        tensors=(
            r'(module\.)?layer1\.0\.bn2\.running_mean',
            r'(module\.)?layer2\.0\.downsample\.1\.weight',
        ),
    ),
    'efficientnet': Row(
        models=('efficientnet',),
        model_types=('efficientnet',),
        architectures=(r'tf_efficientnet_b[0-8](\..*)?',),
    ),
    'resnet_cifar': Row(
        models=('resnet_gn_cifar', 'resnet_bn_cifar'),
        model_types=('resnet_gn_cifar', 'resnet_bn_cifar'),
        tensors=(r'(module\.)?layer3\.0\.conv2\.weight', r'(module\.)?(linear|bn)\.bias'),
    ),
}
