"""RoBERTa against PyTorch: from goldens always, live where torch is installed."""

import parity_engine
import pytest

LIVE = (
    'roberta',
    'roberta_odd',
    'xlm_roberta',
    'roberta_camembert',
    'roberta_masked',
)


@pytest.mark.parametrize('folder', parity_engine.goldens('roberta'), ids=lambda folder: folder.name)
def test_golden(folder):
    parity_engine.measure(folder).check()


def test_padding_does_not_matter():
    assert parity_engine.padding_error(parity_engine.GOLDENS / 'roberta') <= 1e-5


@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
