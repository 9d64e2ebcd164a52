"""BERT and MiniLM against PyTorch: from goldens always, live where torch is installed."""

import parity_engine
import pytest

LIVE = (
    'bert',
    'bert_odd',
    'bert_old',
    'bert_minilm',
    'bert_minilm_tokens',
    'bert_mean',
)


@pytest.mark.parametrize('folder', parity_engine.goldens('bert'), ids=lambda folder: folder.name)
def test_golden(folder):
    parity_engine.measure(folder).check()


@pytest.mark.parametrize('name', ['bert', 'bert_mean', 'bert_minilm_tokens'])
def test_padding_does_not_matter(name):
    assert parity_engine.padding_error(parity_engine.GOLDENS / name) <= 1e-5


@pytest.mark.torch
@pytest.mark.parametrize('name', LIVE)
def test_live(name, tmp_path):
    pytest.importorskip('torch')
    from parity_cases import all_cases
    from parity_torch import check_live

    check_live(all_cases()[name], tmp_path)
