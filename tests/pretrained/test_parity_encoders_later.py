"""ModernBERT, DeBERTa, MPNet, ALBERT against PyTorch where it is installed."""

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


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
