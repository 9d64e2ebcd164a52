"""DINOv3, SigLIP 2, MAE, BEiT, Swin V2 and others against PyTorch, live where it is."""

import parity_engine
import pytest

LIVE = (
    'dinov3',
    'dinov3_gated',
    'dinov3_bare',
    'dinov3_convnext',
    'dinov3_convnext_odd',
    'siglip2',
    'siglip2_classifier',
    'vit_mae',
    'vit_mae_odd',
    'beit',
    'beit_odd',
    'beit_shared',
    'convnextv2',
    'convnextv2_odd',
    'swinv2',
    'swinv2_odd',
    'efficientnet',
    'efficientnet_odd',
)
GOLDENS = (
    'dinov3',
    'siglip2',
)
SLOWER = (
    'dinov3_convnext',
    'vit_mae',
    'beit',
    'convnextv2',
    'swinv2',
    'efficientnet',
)


@pytest.mark.parametrize(
    'name', [*GOLDENS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)]
)
def test_golden(name):
    parity_engine.measure(parity_engine.GOLDENS / name).check()


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
