"""ViT against PyTorch: from goldens always, live where torch is installed."""

import parity_engine
import pytest

LIVE = (
    'vit',
    'vit_odd',
    'vit_base',
    'vit_base_mean',
    'vit_timm',
    'vit_timm_layer_scale',
    'vit_augreg',
    'vit_torchvision',
)


@pytest.mark.parametrize('folder', parity_engine.goldens('vit'), ids=lambda folder: folder.name)
def test_golden(folder):
    parity_engine.measure(folder).check()


@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
