"""Versions: numbers, stages, names, damage, remains; on a folder and on a URL of fsspec."""

import dataclasses
import itertools
import json
import os
import shutil
import threading

import pytest
from altered_bundle import altered

from ftjax.errors import UserError
from ftjax.serving.versions import registry as registry_module
from ftjax.serving.versions.promotions import promote, rollback
from ftjax.serving.versions.publishing import publish
from ftjax.serving.versions.registry import Registry, create
from ftjax.serving.versions.version_names import parse_reference

PLACES = itertools.count()


@pytest.fixture(scope='module')
def bundles(images, tmp_path_factory):
    """Three sound bundles of other answers."""
    folder = tmp_path_factory.mktemp('three')
    return [images.bundle, *(altered(images.bundle, folder / f'b{n}', n) for n in (1, 2))]


@pytest.fixture(params=['folder', 'file', 'memory'])
def registry(request, tmp_path, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    memory = f'memory://registry{next(PLACES)}'
    urls = {'folder': tmp_path / 'reg', 'file': f'file://{tmp_path}/reg', 'memory': memory}
    return Registry(urls[request.param])


@pytest.fixture
def local(tmp_path):
    return Registry(tmp_path / 'reg')


@pytest.fixture(scope='module')
def three(bundles, tmp_path_factory):
    """A folder with versions 1 to 3, each in production for a while, to be copied."""
    folder = tmp_path_factory.mktemp('registry') / 'reg'
    for bundle in bundles:
        version = publish(folder, bundle, 'noise').version
        promote(Registry(folder), str(version), 'production', 'r')
    return folder


@pytest.fixture
def filled(three, tmp_path):
    return Registry(shutil.copytree(three, tmp_path / 'reg'))


def test_numbers_count_up_and_the_same_bytes_are_the_same_version(registry, bundles):
    found = [publish(registry, bundle, 'noise', note=f'{bundle.name}') for bundle in bundles]
    assert [(each.version.number, each.new) for each in found] == [(1, True), (2, True), (3, True)]
    again = publish(registry, bundles[1], 'noise', note='again')
    assert (again.version.number, again.new, again.repaired) == (2, False, False)
    assert again.version.note == 'b1'
    other = publish(registry, bundles[1], 'other', facts={'began_from': 'noise@1'})
    assert str(other.version) == 'other@1' and other.version.facts == {'began_from': 'noise@1'}
    assert registry.models() == ['noise', 'other']
    one = registry.resolve('noise@1')
    assert one == found[0].version
    assert one.run['metrics']['accuracy_interval'][0] < one.run['metrics']['accuracy']
    assert len(one.run['data']['test']) == 64 and one.run['config']['train']['steps'] == 3
    assert registry.load('noise@latest').digest == found[2].version.sha256


def test_a_rollback_goes_to_what_was_there_before_and_nothing_is_forgotten(registry, bundles):
    for bundle in bundles:
        publish(registry, bundle, 'noise')
    with pytest.raises(UserError, match='nothing of noise is in production'):
        registry.resolve('noise@production')
    for number in (1, 3, 2):
        assert promote(registry, f'noise@{number}', 'production', 'better').new
    assert not promote(registry, 'noise@2', 'production', 'again').new
    promote(registry, 'noise@latest', 'staging', 'try it')
    held = [rollback(registry, 'noise', 'production', 'worse').event.version for _ in range(2)]
    assert held == [3, 1]
    assert registry.resolve('noise@production').number == 1
    assert registry.resolve('noise@staging').number == 3
    with pytest.raises(UserError, match='only noise@1 so far'):
        rollback(registry, 'noise', 'production', 'worse')
    promote(registry, 'noise@staging', 'production', 'fixed')
    assert rollback(registry, 'noise', 'production', 'not').event.version == 1
    told = [(e.number, e.action, e.stage, e.version) for e in registry.history('noise')]
    assert told == [
        (1, 'promote', 'production', 1),
        (2, 'promote', 'production', 3),
        (3, 'promote', 'production', 2),
        (4, 'promote', 'staging', 3),
        (5, 'rollback', 'production', 3),
        (6, 'rollback', 'production', 1),
        (7, 'promote', 'production', 3),
        (8, 'rollback', 'production', 1),
    ]
    assert {event.reason for event in registry.history('noise')} >= {'better', 'worse', 'fixed'}


HOSTILE = [
    '',
    '.',
    '..',
    '../x',
    'a/b',
    'a\\b',
    '/etc',
    'a.b',
    'A',
    'ä',
    'a\u202eb',
    'a b',
    'a\n',
    'a\0',
    '-a',
    'a' * 65,
    'a@1',
    '~',
    '%2e%2e',
    None,
]


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_names_are_refused_and_nothing_is_written(local, bundles, tmp_path, name):
    with pytest.raises(UserError):
        publish(local, bundles[0], name)
    for text in (f'{name}@1', f'{name}@production', name):
        with pytest.raises(UserError):
            local.resolve(text)
    for call in (
        lambda: rollback(local, name, 'production', 'r'),
        lambda: promote(local, f'{name}@1', 'production', 'r'),
    ):
        with pytest.raises(UserError):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'which', ['0', '-1', '01', '1.0', '٣', '..', 'prod', 'Production', '', '1/..', '9' * 30, '1@2']
)
def test_what_is_no_version_is_refused(which):
    with pytest.raises(UserError):
        parse_reference(f'noise@{which}')


def test_a_misspelt_stage_or_missing_version_is_named(local, bundles):
    publish(local, bundles[0], 'noise')
    for call, words in (
        (lambda: promote(local, 'noise@1', 'prodction', 'r'), "did you mean 'production'"),
        (lambda: promote(local, 'noise@1', 'production', ' '), 'no reason'),
        (lambda: promote(local, 'noise@7', 'production', 'r'), 'noise@7 is not there'),
        (lambda: local.resolve('nois@1'), "no model 'nois'; known: noise"),
        (lambda: local.resolve('noise'), 'expected NAME@3'),
        (
            lambda: local.resolve('noise@production'),
            'registry.py promote noise@1 production --reason=WHY',
        ),
        (lambda: rollback(local, 'nois', 'production', 'r'), "no model 'nois'; known: noise"),
        (lambda: Registry('s3:/bucket/x'), 'two slashes'),
        (lambda: Registry(' '), 'is empty'),
        (lambda: Registry('~no-such-user/x'), 'home directory'),
        (lambda: publish(local, bundles[0], 'noise', note='n' * 2001), 'at most 2,000'),
    ):
        with pytest.raises(UserError) as told:
            call()
        assert words in str(told.value)


def spoil(folder, how):
    weights = folder / 'model.safetensors'
    data = bytearray(weights.read_bytes())
    if how == 'flipped':
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
    elif how == 'cut':
        weights.write_bytes(data[:-1])
    elif how == 'gone':
        weights.unlink()
    elif how == 'more':
        (folder / 'more.json').write_text('{}')
    elif how == 'link':
        shutil.copy(weights, folder.parent / 'elsewhere')
        weights.unlink()
        weights.symlink_to(folder.parent / 'elsewhere')
    elif how == 'folder a link':
        folder.rename(folder.parent / 'elsewhere')
        folder.symlink_to(folder.parent / 'elsewhere')
    elif how == 'another bundle':  # sound, but not the one that the version names
        shutil.rmtree(folder)
        shutil.copytree(next(folder.parent.iterdir()), folder)
    elif how == 'all gone':
        shutil.rmtree(folder)


DAMAGES = ('flipped', 'cut', 'gone', 'more', 'link', 'folder a link', 'another bundle', 'all gone')


@pytest.mark.parametrize('how', DAMAGES)
def test_a_damaged_version_is_refused_and_the_last_good_one_named(filled, bundles, how):
    local = filled
    promote(local, 'noise@1', 'staging', 'r')
    spoil(_folder(local, 3), how)
    for call in (
        lambda: local.load('noise@production'),
        lambda: promote(local, 'noise@3', 'staging', 'r'),
    ):
        with pytest.raises(UserError) as told:
            call()
        assert 'noise@3 is damaged' in str(told.value)
        assert str(told.value).endswith('the last good version is noise@2')
    assert local.resolve('noise@staging').number == 1
    # What was before is put back; and the same bytes, published again, mend the version.
    assert rollback(local, 'noise', 'production', 'damaged').event.version == 2
    if how in ('flipped', 'more', 'all gone'):
        assert publish(local, bundles[2], 'noise').repaired
        assert local.load('noise@3').digest == local.resolve('noise@3').sha256


def _folder(registry, number):
    return registry.store.root / registry.resolve(f'noise@{number}').folder


def test_a_damaged_record_is_refused_and_another_one_is_not_read_in_its_place(filled, bundles):
    local = filled
    folder = local.store.root / 'noise' / 'versions'
    whole = (folder / '000003.json').read_bytes()
    for data in (
        whole[:-20],
        b'',
        b'{}',
        b'\xff\xfe',
        b'[' * 10_000,
        whole.replace(b'"number": 3', b'"number": 2'),
        whole.replace(b'"note": ""', b'"note": "x"'),
        (folder / '000002.json').read_bytes(),
    ):
        (folder / '000003.json').write_bytes(data)
        for reference in ('noise@3', 'noise@latest'):
            with pytest.raises(
                UserError, match=r'noise@3 is damaged.*last good version is noise@2'
            ):
                local.resolve(reference)
    # Its number is taken none the less.
    (folder / '000003.json').write_bytes(whole[:-20])
    assert publish(local, bundles[2], 'noise').version.number == 4
    (folder / '000003.json').unlink()
    os.mkfifo(folder / '000003.json')
    with pytest.raises(UserError, match='noise@3'):
        local.resolve('noise@3')


def test_what_nobody_could_read_again_is_not_written(filled, bundles, tmp_path):
    latin = 'f\udcfcr alle'  # of a Latin-1 script where words are UTF-8
    with pytest.raises(UserError, match='the reason is no UTF-8 text'):
        promote(filled, 'noise@1', 'staging', latin)
    with pytest.raises(UserError, match='the note is no UTF-8 text'):
        publish(tmp_path / 'new', bundles[0], 'noise', note=latin)
    assert not (tmp_path / 'new').exists()
    last = filled.version('noise', 3)
    with pytest.raises(UserError, match=r'new record noise/versions/000004\.json'):
        create(filled, 'versions', dataclasses.replace(last, number=4, facts={'from': latin}))
    assert filled.numbers('noise', 'versions') == [1, 2, 3]
    assert filled.resolve('noise@production').number == 3


def test_a_damaged_history_is_not_guessed_at(filled):
    local = filled
    (local.store.root / 'noise' / 'history' / '000003.json').write_bytes(b'{')
    with pytest.raises(UserError, match=r'000003\.json.*it was noise@2; promote a version anew'):
        local.resolve('noise@production')
    with pytest.raises(UserError, match='000003'):
        rollback(local, 'noise', 'production', 'r')
    assert promote(local, 'noise@2', 'production', 'history was damaged').new
    assert local.resolve('noise@production').number == 2
    assert rollback(local, 'noise', 'production', 'r').event.version == 2


def test_a_stage_is_mended_after_other_stages_changed(filled):
    local = filled
    (local.store.root / 'noise' / 'history' / '000003.json').write_bytes(b'{')
    promote(local, 'noise@3', 'staging', 'r')
    with pytest.raises(UserError, match='promote a version anew'):
        local.resolve('noise@production')
    assert promote(local, 'noise@2', 'production', 'history was damaged').new
    assert local.resolve('noise@production').number == 2
    assert not promote(local, 'noise@2', 'production', 'again').new


def test_two_publishers_at_once_get_two_numbers(registry, bundles):
    found, start = [], threading.Barrier(3)

    def work(bundle):
        start.wait()
        found.append(publish(registry, bundle, 'noise'))

    threads = [threading.Thread(target=work, args=(bundle,)) for bundle in bundles]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(each.version.number for each in found) == [1, 2, 3]
    for each in found:
        assert registry.resolve(str(each.version)) == each.version


def test_remains_of_killed_publishers_are_removed_and_never_seen(local, bundles):
    publish(local, bundles[0], 'noise')
    root = local.store.root / 'noise'
    # Killed between the files and the record, and while files were copied.
    shutil.copytree(bundles[1], root / 'bundles' / ('0' * 64))
    half = root / 'bundles' / f'.{"1" * 16}.ftjax-partial.{os.uname().nodename}.abc'
    half.mkdir()
    assert [each.number for each in local.versions('noise')] == [1]
    publish(local, bundles[2], 'noise')
    assert len(list((root / 'bundles').iterdir())) == 2
    assert not half.exists()
    # A damaged record may name any of them: then nothing is removed.
    (root / 'versions' / '000002.json').write_bytes(b'')
    shutil.copytree(bundles[1], root / 'bundles' / ('0' * 64))
    publish(local, bundles[1], 'noise')
    assert (root / 'bundles' / ('0' * 64)).exists()


def test_a_clock_that_goes_back_changes_no_order(local, bundles, monkeypatch, caplog):
    publish(local, bundles[0], 'noise')
    promote(local, 'noise@1', 'production', 'r')

    class Past(registry_module.datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2001, 1, 1, tzinfo=tz)

    monkeypatch.setattr(registry_module.datetime, 'datetime', Past)
    publish(local, bundles[1], 'noise')
    promote(local, 'noise@2', 'production', 'r')
    assert 'numbers say what came first' in caplog.text
    assert local.resolve('noise@latest').number == 2
    assert local.resolve('noise@production').when.startswith('2001')
    assert rollback(local, 'noise', 'production', 'r').event.version == 1


def test_an_unsound_bundle_is_not_published(local, bundles, tmp_path):
    for how in ('flipped', 'gone', 'more'):
        shutil.copytree(bundles[0], tmp_path / how)
        spoil(tmp_path / how, how)
        with pytest.raises(UserError):
            publish(local, tmp_path / how, 'noise')
    # Hashes are right, outputs are not.
    wrong = altered(bundles[0], tmp_path / 'wrong')
    shutil.copy(bundles[0] / 'goldens.safetensors', wrong)
    manifest = json.loads((wrong / 'bundle.json').read_text())
    kept = json.loads((bundles[0] / 'bundle.json').read_text())['files']['goldens.safetensors']
    manifest['files']['goldens.safetensors'] = kept
    (wrong / 'bundle.json').write_text(json.dumps(manifest))
    with pytest.raises(UserError, match='outputs on the golden inputs differ'):
        publish(local, wrong, 'noise')
    assert not local.models()


def test_a_damaged_copy_in_the_cache_is_fetched_again(bundles, tmp_path, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    registry = Registry(f'memory://registry{next(PLACES)}')
    version = publish(registry, bundles[0], 'noise').version
    copy = registry.open(version)
    assert copy == tmp_path / 'cache' / 'versions' / version.sha256
    spoil(copy, 'flipped')
    assert registry.open(version) == copy
    path = registry.store.path(f'{version.folder}/model.safetensors')
    registry.store.files.pipe_file(path, b'no weights')
    spoil(copy, 'flipped')
    with pytest.raises(UserError, match=r'noise@1 is damaged.*no version is good'):
        registry.open(version)


def test_a_store_that_does_not_answer_damages_nothing(bundles, monkeypatch):
    registry = Registry(f'memory://registry{next(PLACES)}')
    publish(registry, bundles[0], 'noise')

    def gone(*_, **__):
        raise TimeoutError('no answer')

    monkeypatch.setattr(type(registry.store.files), 'ls', gone)
    with pytest.raises(registry_module.Unreachable, match='no answer'):
        registry.resolve('noise@1')


def test_records_hold_every_field_of_a_version(local, bundles):
    version = publish(local, bundles[0], 'noise', note='a <b> & 猫').version
    data = json.loads((local.store.root / 'noise/versions/000001.json').read_text())
    assert set(data['record']) == {field.name for field in dataclasses.fields(version)}
    assert data['record']['note'] == 'a <b> & 猫'


@pytest.mark.parametrize('size', [0, 5000, 20_000])
def test_a_full_disk_leaves_everything_as_it_was(filled, bundles, tmp_path, size):
    resource = pytest.importorskip('resource')
    other = altered(bundles[0], tmp_path / 'other', 1, by=0.7)
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, kept[1]))
        with pytest.raises(UserError, match='cannot write to'):
            publish(filled, other, 'noise')
        if not size:
            with pytest.raises(UserError, match='cannot write to'):
                promote(filled, 'noise@1', 'production', 'r')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert [each.number for each in filled.versions('noise')] == [1, 2, 3]
    assert filled.resolve('noise@production').number == 3
    bundles_of_it = filled.store.root / 'noise' / 'bundles'
    assert len(list(bundles_of_it.iterdir())) == 3
    assert publish(filled, other, 'noise').version.number == 4


def test_a_file_system_without_hard_links_makes_records_once_too(filled, monkeypatch):
    def refused(*_):
        raise PermissionError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'link', refused)
    assert promote(filled, 'noise@1', 'production', 'r').event.number == 4
    assert filled.resolve('noise@production').number == 1
    record = filled.store.root / 'noise' / 'versions' / '000003.json'
    before = record.read_bytes()
    assert filled.store.create('noise/versions/000003.json', b'other') is False
    assert record.read_bytes() == before
    assert not [path for path in record.parent.iterdir() if path.name.startswith('.')]
