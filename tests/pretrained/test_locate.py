"""Where an init string leads: environment variables in a path."""

import pytest

from ftjax.errors import UserError
from ftjax.pretrained.locate.locate import locate


@pytest.mark.parametrize('init', ['$SOME_NETWORK', '${SOME_NETWORK}', '$SOME_NETWORK/'])
def test_an_environment_variable_stands_for_a_folder(tmp_path, monkeypatch, init):
    monkeypatch.setenv('SOME_NETWORK', str(tmp_path))
    assert locate(init).path == tmp_path


def test_one_may_stand_within_a_path(tmp_path, monkeypatch):
    (tmp_path / 'mini').mkdir()
    monkeypatch.setenv('FTJAX_DATA', str(tmp_path))
    assert locate('$FTJAX_DATA/mini').path == tmp_path / 'mini'


def test_one_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv('SOME_NETWORK', raising=False)
    with pytest.raises(UserError, match='SOME_NETWORK is not set; export SOME_NETWORK=FOLDER'):
        locate('$SOME_NETWORK')
