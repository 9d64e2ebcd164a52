"""ModernBERT, DeBERTa, MPNet, ALBERT against PyTorch: goldens always, live where it is."""

import parity_engine
import pytest

LIVE = (
    'modernbert',
    'modernbert_odd',
    'modernbert_tokens',
    'deberta',
    'deberta_odd',
    'deberta_conv',
    'deberta_p2c',
    'deberta_plain',
    'mpnet',
    'mpnet_odd',
    'mpnet_mean',
    'albert',
    'albert_odd',
)
GOLDENS = (
    'modernbert',
    'deberta',
)
SLOWER = (
    'deberta_conv',
    'mpnet',
    'albert',
)


@pytest.mark.parametrize(
    'name', [*GOLDENS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)]
)
def test_golden(name):
    parity_engine.measure(parity_engine.GOLDENS / name).check()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['modernbert', 'deberta', 'deberta_conv', 'mpnet', 'albert'])
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
