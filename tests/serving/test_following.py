"""A server that follows promotions: none is lost, answers name their version, bad ones stay out."""

import asyncio
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import types
from unittest import mock

import numpy as np
import pytest
from altered_bundle import altered
from asgi_calls import call, lifespan, post
from test_versions import spoil

from ftjax import serving
from ftjax.errors import UserError
from ftjax.preprocessing.table_features import NumberColumn, TablePreprocessing
from ftjax.serving.bundle.goldens import Goldens, write_goldens
from ftjax.serving.bundle.manifest import write_manifest
from ftjax.serving.bundle.raw_inputs import TableReader
from ftjax.serving.server import follower as follower_module
from ftjax.serving.server.follower import Follower, service_of
from ftjax.serving.server.http_app import guarded_app
from ftjax.serving.server.server_settings import ServerSettings
from ftjax.serving.server.service import Service
from ftjax.serving.versions import publishing
from ftjax.serving.versions.promotions import promote, rollback
from ftjax.serving.versions.publishing import publish
from ftjax.serving.versions.registry import Registry, Unreachable, create
from ftjax.serving.versions.version_names import parse_reference

needed = ('fastapi', 'uvicorn', 'prometheus_client', 'orjson', 'multipart')
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in needed), reason='needs the extra serve'
)
SETTINGS = ServerSettings(batch_sizes=(1, 4), latency_ms=1)
PIXELS = np.random.default_rng(3).integers(0, 256, (4, 8, 8, 1), np.uint8)
PLACES = itertools.count()


@pytest.fixture(scope='module')
def bundles(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp('followed')
    return [images.bundle, *(altered(images.bundle, folder / f'b{n}', n) for n in (1, 2))]


@pytest.fixture
def registry(bundles, tmp_path, monkeypatch):
    """On a URL, so that bundles come from the cache; version 1 is in production."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    registry = Registry(f'memory://followed{next(PLACES)}')
    for bundle in bundles:
        publish(registry, bundle, 'noise')
    promote(registry, 'noise@1', 'production', 'first')
    return registry


@contextlib.asynccontextmanager
async def followed(registry, every=0.02):
    """(app, follower) that is ready."""
    reference = parse_reference('noise@production')
    version = registry.resolve(reference)
    service = service_of(registry, version, SETTINGS)
    follower = Follower(registry, reference, version, every)
    app = guarded_app(service, follower)
    async with lifespan(app):
        while (await call(app, '/readyz'))[0] != 200:
            await asyncio.sleep(0.01)
        yield app, follower


async def until(app, version):
    """Waits until a version answers."""
    for _ in range(2000):
        models = json.loads((await call(app, '/v1/models'))[2])['models']
        if models[0]['version'] == version:
            return models
        await asyncio.sleep(0.01)
    raise AssertionError(f'{version} never answered')


async def counted(app, line):
    text = (await call(app, '/metrics'))[2].decode()
    return float(next(row for row in text.splitlines() if row.startswith(line)).rpartition(' ')[2])


def test_no_request_is_lost_and_each_answer_is_that_of_the_version_it_names(registry, bundles):
    direct = [serving.load(bundle, goldens=False) for bundle in bundles]
    expected = {str(n): one.run({'images': PIXELS}).outputs for n, one in enumerate(direct, 1)}
    seen, stop = [], asyncio.Event()

    async def client(app, at):
        while not stop.is_set():
            raw = {'inputs': [{'pixels': PIXELS[at, ..., 0].tolist()}], 'outputs': True}
            status, headers, body = await call(app, '/v1/predict', json.dumps(raw).encode())
            assert status == 200, body
            answer = json.loads(body)
            version = answer['model']['version']
            assert headers['x-model-version'] == f'noise@{version}'
            outputs = np.float32(answer['predictions'][0]['outputs'])
            for name, rows in expected.items():
                near = np.allclose(outputs, rows[at], atol=1e-5)
                assert near == (name == version), (name, version)
            seen.append(version)
            await asyncio.sleep(0.005)

    async def whole():
        async with followed(registry) as (app, _):
            clients = [asyncio.create_task(client(app, n % 4)) for n in range(8)]
            for step, version in (
                (lambda: promote(registry, 'noise@2', 'production', 'r'), '2'),
                (lambda: rollback(registry, 'noise', 'production', 'r'), '1'),
                (lambda: promote(registry, 'noise@latest', 'production', 'r'), '3'),
            ):
                await asyncio.to_thread(step)
                models = await until(app, version)
                assert [m['live'] for m in models] == [True, False, False]
                assert {m['version']: m['stages'] for m in models}[version] == ['production']
                await asyncio.sleep(0.1)
            stop.set()
            await asyncio.gather(*clients)
            assert await counted(app, 'ftjax_promotions_total{to="live"}') == 3
            assert await counted(app, 'ftjax_bundle{name="noise",') == 1
            assert await counted(app, 'ftjax_ready') == 1
            answered = await counted(app, 'ftjax_requests_total{path="/v1/predict",status="200"}')
            assert answered == len(seen)

    asyncio.run(asyncio.wait_for(whole(), 240))
    order = [version for version, _ in itertools.groupby(seen)]
    assert set(order) == {'1', '2', '3'} and seen[0] == '1' and seen[-1] == '3'


def test_versions_of_one_network_share_programs_and_what_they_cost(bundles, texts):
    first, second = (Service(serving.load(b, goldens=False), SETTINGS) for b in bundles[:2])
    first.warm_up()
    assert first.ready and first.batcher.costs.seconds
    second.take_after(first)
    shared = dict(second.bundle.compiled)
    second.warm_up()
    assert second.ready and second.bundle.compiled == shared == first.bundle.compiled
    assert second.batcher.costs is first.batcher.costs
    outputs = [one.bundle.run({'images': PIXELS}).outputs for one in (first, second)]
    assert not np.allclose(*outputs, atol=1e-3)  # weights are arguments of the program
    other = Service(serving.load(texts.bundle, goldens=False), SETTINGS)
    other.take_after(first)
    assert not other.bundle.compiled and not other.batcher.costs.seconds
    sizes = dataclasses.replace(SETTINGS, batch_sizes=(1, 2))
    third = Service(serving.load(bundles[2], goldens=False), sizes)
    third.take_after(first)
    assert third.bundle.compiled and not third.batcher.costs.seconds


def test_a_bad_version_is_refused_once_and_the_old_one_stays(
    registry, bundles, texts, tmp_path, monkeypatch, caplog
):
    # Hashes are right, but it does not compute what its goldens say.
    wrong = altered(bundles[0], tmp_path / 'wrong', 0, by=0.3)
    goldens = (bundles[0] / 'goldens.safetensors').read_bytes()
    (wrong / 'goldens.safetensors').write_bytes(goldens)
    (wrong / 'bundle.json').unlink()
    write_manifest(wrong, {'jax': 'of the test'})
    unproved = lambda folder: serving.load(folder, goldens=False)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(publishing, 'load', unproved)
        publish(registry, wrong, 'noise')
    publish(registry, texts.bundle, 'noise')
    caplog.set_level('INFO')

    async def whole():
        async with followed(registry) as (app, _):
            for refused, (version, words) in enumerate(
                ((4, 'outputs on the golden inputs differ'), (5, 'takes was images')),
                1,
            ):
                promote(registry, f'noise@{version}', 'production', 'r')
                while await counted(app, 'ftjax_promotions_total{to="refused"}') < refused:
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.2)  # ten more looks
                assert await counted(app, 'ftjax_promotions_total{to="refused"}') == refused
                assert f'noise@{version} is refused, noise@1 stays' in caplog.text
                assert words in caplog.text
                raw = {'inputs': [{'pixels': PIXELS[0, ..., 0].tolist()}]}
                status, answer = await post(app, raw)
                assert (status, answer['model']['version']) == (200, '1')
            assert (await call(app, '/readyz'))[0] == 200
            promote(registry, 'noise@2', 'production', 'r')
            await until(app, '2')

    asyncio.run(asyncio.wait_for(whole(), 240))


def of_table(folder, *columns):
    """What `_check_same` asks of a bundle whose rows have these columns."""
    row = dict.fromkeys(columns, 1.0)
    arrays = {'features': np.zeros((1, len(columns)), np.float32)}
    write_goldens(folder, Goldens(arrays, np.zeros((1, 1), np.float32), ('a',), (row,)))
    numbers = tuple(NumberColumn(name=name, mean=0.0, deviation=1.0) for name in columns)
    signature = types.SimpleNamespace(
        takes='table',
        task='regression',
        answer='outputs',
        class_names=(),
        bucket=lambda length: 0,
    )
    return types.SimpleNamespace(
        folder=folder,
        signature=signature,
        reader=TableReader(TablePreprocessing(numbers=numbers)),
        checked=lambda arrays: arrays,
        length=lambda arrays: 0,
    )


def test_a_version_that_needs_another_column_is_refused(tmp_path):
    for name in ('old', 'new'):
        (tmp_path / name).mkdir()
    old, new = of_table(tmp_path / 'old', 'a', 'b'), of_table(tmp_path / 'new', 'a', 'b', 'c')
    with pytest.raises(UserError, match=r"golden inputs of the version before.*no column 'c'"):
        follower_module._check_same(old, new)
    follower_module._check_same(new, old)  # what is not wanted any more may be sent


def test_other_classes_are_told_by_the_version_that_has_them(tmp_path, monkeypatch, caplog):
    for name in ('old', 'new'):
        (tmp_path / name).mkdir()
    live, service = types.SimpleNamespace(service=mock.MagicMock()), mock.AsyncMock()
    live.service.bundle, service.bundle = (of_table(tmp_path / n, 'a') for n in ('old', 'new'))
    service.bundle.signature.class_names = ('other',)
    for name in ('take_after', 'open', 'warm_up'):
        setattr(service, name, mock.Mock())
    service.failed = ''
    monkeypatch.setattr(follower_module, 'service_of', lambda *_: service)
    reference = parse_reference('noise@production')
    follower = Follower(mock.MagicMock(), reference, 'noise@1', 1000)
    asyncio.run(follower._take('noise@2', live))
    assert 'the classes of noise@2 differ from those before' in caplog.text


def test_a_damaged_version_is_taken_once_it_is_mended(bundles, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(follower_module, 'RETRY', 0.2)
    registry = Registry(tmp_path / 'reg')
    for bundle in bundles:
        publish(registry, bundle, 'noise')
    promote(registry, 'noise@1', 'production', 'r')
    # A promotion of what is damaged only later, as disks do it.
    event = promote(registry, 'noise@3', 'staging', 'r').event
    event = dataclasses.replace(event, number=3, stage='production')
    folder = registry.store.root / registry.resolve('noise@3').folder

    async def whole():
        async with followed(registry) as (app, _):
            spoil(folder, 'flipped')
            create(registry, 'history', event)
            while 'noise@3 is refused, noise@1 stays' not in caplog.text:
                await asyncio.sleep(0.02)
            assert 'the last good version is noise@2' in caplog.text
            assert publish(registry, bundles[2], 'noise').repaired
            await until(app, '3')

    asyncio.run(asyncio.wait_for(whole(), 240))


def test_the_version_stays_while_the_registry_does_not_answer(registry, monkeypatch, caplog):
    async def whole():
        async with followed(registry) as (app, _):
            kind = type(registry.store.files)
            with monkeypatch.context() as patch:

                def gone(*_, **__):
                    raise ConnectionError('nobody there')

                patch.setattr(kind, 'ls', gone)
                while await counted(app, 'ftjax_registry_errors_total') < 3:
                    await asyncio.sleep(0.02)
                assert (await call(app, '/readyz'))[0] == 200
            assert caplog.text.count('nobody there') == 1
            promote(registry, 'noise@2', 'production', 'r')
            await until(app, '2')

    asyncio.run(asyncio.wait_for(whole(), 240))


def test_what_was_made_ready_is_closed_where_the_registry_goes_away(registry, monkeypatch):
    closed, real = [], Service.close

    async def close(self):
        closed.append(self.version)
        await real(self)

    monkeypatch.setattr(Service, 'close', close)

    async def whole():
        async with followed(registry, every=1000) as (_, follower):
            live = types.SimpleNamespace(service=service_of(registry, follower.version, SETTINGS))
            promote(registry, 'noise@2', 'production', 'r')
            version = registry.resolve('noise@production')

            def gone(_):
                raise Unreachable('nobody there')

            monkeypatch.setattr(registry, 'resolve', gone)
            await follower._take(version, live)
            assert closed == ['2']

    asyncio.run(asyncio.wait_for(whole(), 240))
