"""Gemma, OLMo 2 and Phi-3 against PyTorch: from goldens always, live where torch is installed."""

import parity_engine
import pytest

LIVE = (
    'gemma',
    'gemma_odd',
    'gemma_both',
    'gemma2',
    'gemma2_odd',
    'gemma2_untied',
    'gemma3',
    'gemma3_odd',
    'gemma3_both',
    'olmo2',
    'olmo2_odd',
    'phi3',
    'phi3_short',
    'phi3_long',
)
GOLDENS = [
    folder
    for family in ('gemma', 'gemma2', 'gemma3', 'olmo2', 'phi3')
    for folder in parity_engine.goldens(family)
]


@pytest.mark.parametrize('folder', GOLDENS, ids=lambda folder: folder.name)
def test_golden(folder):
    parity_engine.measure(folder).check()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gemma2', 'gemma3', 'olmo2', 'phi3'])
def test_padding_does_not_matter(name):
    assert parity_engine.padding_error(parity_engine.GOLDENS / name) <= 1e-5


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
