"""The table of the hub's repositories: its rows are families', its hashes are told."""

import hashlib
import importlib
import re

import pytest

from ftjax.pretrained import families
from ftjax.pretrained.locate import hub_ids as module
from ftjax.pretrained.locate.hub import parse
from ftjax.pretrained.locate.hub_ids import HubId, checked_note, hub_ids


def test_every_model_type_has_a_repository_and_every_row_is_whole():
    rows = hub_ids().values()
    known = {name for row in families.rows().values() for name in row.model_types}
    inside = {'clip_vision_model', 'siglip_vision_model', 'siglip2_vision_model'}
    ours = {'resnet_gn_cifar', 'resnet_bn_cifar'}
    assert {row.model_type for row in rows} == known - inside - ours
    for row in rows:
        assert parse(f'hf://{row.id}') == (row.id, None, '')
        assert (row.config_sha256 is None) == (row.revision is None)
        assert row.config_sha256 is None or re.fullmatch('[0-9a-f]{64}', row.config_sha256)


@pytest.mark.parametrize('text, told', [('{}', 'the one that was checked'), ('{ }', 'changed')])
def test_a_config_is_held_against_the_one_that_was_checked(tmp_path, monkeypatch, text, told):
    digest = hashlib.sha256(b'{}').hexdigest()
    table = {'a/b': HubId('a/b', 'vit', digest, 'c0ffee'), 'a/c': HubId('a/c', 'vit', None, None)}
    monkeypatch.setattr(module, 'hub_ids', lambda: table)
    file = tmp_path / 'config.json'
    file.write_text(text)
    assert told in checked_note('hf://a/b@main', file)
    assert checked_note('hf://a/c', file) is None
    assert checked_note('hf://a/d', file) is None


def test_the_committed_page_is_the_present_one(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / 'scripts' / 'parity')
    script = importlib.import_module('check_hub_ids')
    page = (repository / 'results' / 'parity' / 'hub_ids.md').read_text()
    assert page == script.page(list(hub_ids().values()))
