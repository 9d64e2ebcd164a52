"""--config.KEY=None for keys that may be None, whatever the config file says of them."""

import pytest
from absl import flags

from ftjax import command_line
from ftjax.config import read_config
from ftjax.errors import UserError

FILE = """
from ftjax.config import template


def get_config():
    return template(data={'examples_per_class': 10, 'max_length': 64}, optimizer={'clip_norm': 1.0})
"""


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Parses words as a script does; returns the settings of the config."""
    (tmp_path / 'c.py').write_text(FILE)
    own = flags.FlagValues()
    monkeypatch.setattr(flags, 'FLAGS', own)

    def parse(*words):
        command_line.config_flags.DEFINE_config_file('config', flag_values=own)
        argv = ['x', f'--config={tmp_path}/c.py', *words]
        monkeypatch.setattr('sys.argv', argv)  # where ml_collections looks for keys
        command_line.parse_flags(argv)
        return read_config(own['config'].value)

    return parse


@pytest.mark.parametrize('none', ['None', 'none'])
def test_none_takes_a_number_back(parse, none):
    config = parse(
        f'--config.data.examples_per_class={none}', f'--config.optimizer.clip_norm={none}',
        '--config.data.max_length', none, f'-config.train.patience={none}',
        '--config.data.batch_size=8', '--config.data.augment=none',
    )  # fmt: skip
    assert config.data.examples_per_class is None and config.optimizer.clip_norm is None
    assert config.data.max_length is None and config.train.patience is None
    assert (config.data.batch_size, config.data.augment) == (8, 'none')


def test_without_it_numbers_stay_and_keys_that_need_one_refuse_none(parse):
    assert parse('--config.data.val_per_class=3').data.examples_per_class == 10


@pytest.mark.parametrize('word', ['--config.data.batch_size=None', '--config.train.epoch=None'])
def test_keys_that_cannot_be_none_and_unknown_ones_are_named(parse, word):
    with pytest.raises(UserError, match=word.split('=')[0].rsplit('.', 1)[1]):
        parse(word)
