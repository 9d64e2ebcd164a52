"""ResNet against PyTorch: from goldens always, live where torch is installed."""

import parity_engine
import pytest

LIVE = (
    'resnet',
    'resnet_bottleneck',
    'resnet_odd',
    'resnet_torchvision',
    'resnet_torchvision_bottleneck',
)


@pytest.mark.parametrize('folder', parity_engine.goldens('resnet'), ids=lambda folder: folder.name)
def test_golden(folder):
    parity_engine.measure(folder).check()


@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
