"""GPT-2 against PyTorch: from goldens always, live where torch is installed."""

import parity_engine
import pytest

LIVE = (
    'gpt2',
    'gpt2_odd',
    'gpt2_lm',
    'gpt2_lm_untied',
    'gpt2_base',
    'gpt2_both',
)
GOLDENS = parity_engine.goldens('gpt2')


@pytest.mark.parametrize('folder', GOLDENS, ids=lambda folder: folder.name)
def test_golden(folder):
    parity_engine.measure(folder).check()


@pytest.mark.parametrize('name', ['gpt2_odd', 'gpt2_lm'])
def test_padding_does_not_matter(name):
    assert parity_engine.padding_error(parity_engine.GOLDENS / name) <= 1e-5


@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
