"""What inspection tells of each family, from headers alone."""

import pathlib
import subprocess
import sys

import pytest

from ftjax.pretrained.inspection import inspect
from ftjax.pretrained.readers import open_source
from ftjax.pretrained.readers.npz_weights import NpzSource
from ftjax.pretrained.readers.safetensors_file import SafetensorsSource
from ftjax.pretrained.readers.tensor_source import count

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
TEXT = ('bert', 'roberta', 'electra', 'distilbert', 'gpt2', 'llama')
FAMILIES = {
    'bert': 'bert',
    'roberta': 'roberta',
    'electra': 'electra',
    'distilbert': 'distilbert',
    'gpt2_lm': 'gpt2',
    'llama': 'llama',
    'qwen3': 'llama',
    'clip_classifier': 'clip_vision',
    'siglip': 'siglip_vision',
    'convnext_timm': 'convnext (timm)',
    'deit': 'deit',
    'dinov2_registers': 'dinov2_with_registers',
    'swin_odd': 'swin',
    'vit': 'vit',
    'resnet_torchvision': 'resnet (torchvision)',
    'vit_augreg': 'vit (AugReg)',
}


@pytest.mark.parametrize('golden', FAMILIES)
def test_every_parameter_is_counted_and_no_tensor_read(golden, monkeypatch):
    def read(self, name):
        raise AssertionError(f'{name} was read')

    for source in (SafetensorsSource, NpzSource):
        monkeypatch.setattr(source, 'read', read)
    folder = GOLDENS / golden / 'model'
    found, source = inspect(str(folder)), open_source(folder)
    assert found.family == FAMILIES[golden]
    used = set(source.names) - set(found.report.skipped)
    total = sum(found.parameters.values()) + found.statistics
    assert total == sum(count(source.shape(name)) for name in used)
    table = found.table().splitlines()
    for stage in found.stages:
        assert any(line.startswith(stage) for line in table)
    is_image = found.preprocessing is not None
    assert is_image == any(line.startswith('preprocessing image_size=') for line in table)
    assert is_image == (found.family not in TEXT)


def test_the_script_prints_it(repository):
    script = repository / 'scripts' / 'inspect_checkpoint.py'
    done = subprocess.run(
        [sys.executable, str(script), str(GOLDENS / 'bert' / 'model')],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for word in ('family bert', 'block_01', 'all', 'head kept'):
        assert word in done.stdout
