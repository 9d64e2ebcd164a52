"""The ViT that tests of bundles train."""

VIT = {
    'name': 'vit',
    'image_size': 8,
    'patch_size': 4,
    'width': 16,
    'heads': 2,
    'depth': 2,
    'channels': 1,
    'mlp_dim': 16,
}
