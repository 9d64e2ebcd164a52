"""Llama and its relatives against PyTorch: from goldens always, live where torch is installed."""

import parity_engine
import pytest

LIVE = (
    'llama',
    'llama_odd',
    'llama_lm',
    'llama_lm_untied',
    'llama_base',
    'mistral',
    'mistral_odd',
    'qwen2',
    'qwen2_odd',
    'qwen2_5',
    'qwen3',
    'qwen3_odd',
    'llama_both',
    'mistral_both',
    'qwen2_both',
    'qwen3_both',
)
GOLDENS = [
    folder
    for family in ('llama', 'mistral', 'qwen2', 'qwen3')
    for folder in parity_engine.goldens(family)
]


@pytest.mark.parametrize('folder', GOLDENS, ids=lambda folder: folder.name)
def test_golden(folder):
    parity_engine.measure(folder).check()


@pytest.mark.parametrize('name', ['llama_odd', 'mistral', 'mistral_both', 'qwen3'])
def test_padding_does_not_matter(name):
    assert parity_engine.padding_error(parity_engine.GOLDENS / name) <= 1e-5


@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
