"""What a server keeps of its traffic: counts, a fair sample, files that are whole, nothing else."""

import asyncio
import collections
import importlib.util
import json
import os
import threading
import types

import numpy as np
import pytest
from asgi_calls import call, post, running

from ftjax import serving
from ftjax.errors import UserError
from ftjax.serving.bundle.reference import BINS, read_reference
from ftjax.serving.monitoring import kept_inputs, traffic_monitor
from ftjax.serving.monitoring.kept_inputs import KeptInputs
from ftjax.serving.monitoring.sketch import Answered, Sketch
from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor, drop_oldest
from ftjax.serving.monitoring.traffic_rows import Rows
from ftjax.serving.monitoring.window_file import NAME, read_window, window_of, write_window

FACTS = {'bundle': 'b' * 64, 'start': 0, 'seconds': 60, 'refused': 0, 'seed': 1}


def reference_of(width=4, measures=('width',)):
    return types.SimpleNamespace(
        edges=np.linspace(0, 1, BINS + 1), features=np.zeros((1, width)), measure_names=measures
    )


def answer(number, width=4, value=0.5, measure=3.0):
    features = np.full(width, number, np.float32)
    return Answered(f'r/{number}', value, number % 3, (number % 3,), features, np.array([measure]))


def test_counts_sums_and_bins_are_those_of_numpy():
    sketch, random = Sketch(reference_of(), 3, 0), np.random.default_rng(0)
    values = [0.0, 1.0, *random.random(200)]
    sizes = [0.0, 0.5, 1.0, 2.0, np.nan, *random.integers(1, 5000, 197).astype(float)]
    answers = [
        answer(i, value=v, measure=s) for i, (v, s) in enumerate(zip(values, sizes, strict=True))
    ]
    for one in answers:
        sketch.note([one])
    np.testing.assert_array_equal(sketch.histogram[1:-1], np.histogram(values, BINS, (0.0, 1.0))[0])
    assert sketch.histogram[[0, -1]].tolist() == [0, 0]
    np.testing.assert_allclose(sketch.sums / sketch.seen, np.mean([a.features for a in answers], 0))
    assert sketch.predicted.tolist() == [68, 67, 67]
    known = np.array([s for s in sizes if s == s])
    edges = [-np.inf, *2.0 ** np.arange(0, 32), np.inf]
    np.testing.assert_array_equal(sketch.sizes[0], np.histogram(known, edges)[0])


def test_every_example_is_equally_often_in_the_sample(monkeypatch):
    monkeypatch.setattr('ftjax.serving.monitoring.sketch.MOST_ROWS', 20)
    counts = collections.Counter()
    for seed in range(400):
        sketch = Sketch(reference_of(1), 3, seed)
        for number in range(60):
            sketch.note([answer(number, 1)])
        rows, ids = sketch.sample()
        assert len(set(ids)) == len(rows) == 20
        counts.update(int(f) for f in rows.features[:, 0])
    # 400 draws with probability 1/3: deviation 9.4; 60 of them stay within 4.5 deviations.
    assert set(counts) == set(range(60))
    assert max(abs(n - 400 / 3) for n in counts.values()) < 4.5 * 9.43
    early = sum(counts[i] for i in range(20))
    assert abs(early - 8000 / 3) < 4 * np.sqrt(8000 * (1 / 3) * (2 / 3))


def test_answers_that_are_not_finite_are_counted_apart():
    sketch = Sketch(reference_of(), 3, 0)
    broken = answer(1)
    broken.features[2] = np.nan
    sketch.note([broken, answer(0, value=np.inf), answer(2)])
    assert (sketch.seen, sketch.unusable, sketch.histogram.sum()) == (1, 2, 1)


def made(path, count=5):
    sketch = Sketch(reference_of(), 3, 0)
    for number in range(count):
        sketch.note([answer(number)])
    window = window_of(sketch, **FACTS)
    write_window(path, window)
    return window


def test_a_window_comes_back_as_it_was(tmp_path):
    window = made(tmp_path / 'a.safetensors')
    again = read_window(tmp_path / 'a.safetensors')
    for name in ('histogram', 'predicted', 'sums', 'sizes'):
        np.testing.assert_array_equal(getattr(again, name), getattr(window, name))
    np.testing.assert_array_equal(again.rows.features, window.rows.features)
    assert (again.ids, again.seen, again.end) == (window.ids, 5, 60)


@pytest.mark.parametrize(
    'damage',
    [
        lambda w: w.rows.features.__setitem__((0, 0), np.nan),
        lambda w: w.sums.__setitem__(0, np.inf),
        lambda w: w.histogram.__setitem__(0, -1),
        lambda w: w.histogram.__setitem__(3, 10**9),
        lambda w: w.rows.answers.__setitem__(0, 99),
        lambda w: w.rows.answers.__setitem__(0, -2),
    ],
)
def test_a_window_that_no_server_writes_is_refused(tmp_path, damage):
    window = made(tmp_path / 'a.safetensors')
    damage(window)
    write_window(tmp_path / 'b.safetensors', window)
    with pytest.raises(UserError, match='damaged'):
        read_window(tmp_path / 'b.safetensors')


def test_broken_bytes_are_refused(tmp_path):
    made(path := tmp_path / 'a.safetensors')
    whole = path.read_bytes()
    random, messages = np.random.default_rng(0), []
    for number in range(150):
        data = bytearray(whole)
        if number % 3:
            for at in random.integers(0, len(data), 3):
                data[at] = random.integers(256)
        else:
            data = data[: random.integers(len(data))]
        path.write_bytes(bytes(data))
        try:
            assert isinstance(read_window(path).rows, Rows)  # bits of a float, say
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(str(path) in message for message in messages)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError):
        read_window(path)


def test_the_folder_is_bounded_and_other_files_stay(tmp_path):
    for number in range(12):
        name = f'window_20260101T{number:06d}Z_60_0123abcd_0.safetensors'
        (tmp_path / name).write_bytes(b'x' * 100)
    (tmp_path / 'mine.txt').write_text('kept')
    assert drop_oldest(tmp_path, windows=10) == 2
    assert drop_oldest(tmp_path, size=450) == 6
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == [
        'mine.txt',
        *(f'window_20260101T{n:06d}Z_60_0123abcd_0.safetensors' for n in (8, 9, 10, 11)),
    ]


def traffic_of(made, folder, **options):
    bundle = serving.load(made.bundle, goldens=False)
    reference = read_reference(bundle.folder, bundle.signature)
    return bundle, TrafficMonitor(bundle, reference, folder, **options)


def test_the_last_write_is_not_overwritten_by_one_before(images, tmp_path, monkeypatch):
    _, traffic = traffic_of(images, tmp_path)
    monkeypatch.setattr(traffic_monitor, 'FLUSH', 0)
    began, go_on, stored = threading.Event(), threading.Event(), []

    def store(windows):
        if windows == 'first':
            began.set()
            go_on.wait(10)
        stored.append(windows)

    monkeypatch.setattr(traffic, 'store', store)
    monkeypatch.setattr(traffic, 'waiting', lambda: 'first')

    async def whole():
        writing = asyncio.create_task(traffic.run())
        await asyncio.to_thread(began.wait, 10)
        writing.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await asyncio.wait([writing])
        traffic.store('last')
        assert writing.cancelled()

    asyncio.run(whole())
    assert stored == ['first', 'last']


def test_time_that_goes_on_and_back_never_overwrites_a_window(images, tmp_path):
    now = [1000.0]
    _, traffic = traffic_of(images, tmp_path, seconds=60, clock=lambda: now[0])
    width = traffic.reference.features.shape[1]
    one = Answered('r/0', 0.5, 0, (0,), np.ones(width, np.float32), np.zeros(4, np.float32))
    for count, moved in enumerate((0, 60, 600, -600, 10**7, -(10**7), -(10**6)), 1):
        now[0] += moved
        traffic.note('r', [b''], [one] * count)
        traffic.note_refused()
    traffic.store(traffic.waiting())
    found = [read_window(p) for p in sorted(tmp_path.iterdir()) if NAME.fullmatch(p.name)]
    assert sorted(w.seen for w in found) == [1, 2, 3, 4, 5, 6, 7]
    assert all(w.refused == 1 and w.start % 60 == 0 for w in found)
    assert {w.bundle for w in found} == {traffic.bundle.digest}


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_served(images, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written to'):
        traffic_of(images, tmp_path / 'file' / 'deeper')


@pytest.mark.skipif(not importlib.util.find_spec('fastapi'), reason='needs the extra serve')
@pytest.mark.parametrize('rate', [0.0, 1.0])
def test_a_server_keeps_sketches_and_inputs_only_where_asked(images, tmp_path, rate):
    from ftjax.serving.server.http_app import guarded_app
    from ftjax.serving.server.server_settings import ServerSettings
    from ftjax.serving.server.service import Service

    bundle, traffic = traffic_of(images, tmp_path, keep_inputs=rate)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 9, 7)).tolist()

    async def whole():
        service = Service(bundle, ServerSettings(batch_sizes=(1, 4)), traffic)
        app = guarded_app(service)
        async with running(service):
            body = {'inputs': [{'pixels': p} for p in pixels]}
            status, answer = await post(app, body, headers=[('X-Request-Id', '../../..')])
            assert status == 200
            assert (await post(app, {'inputs': [{'pixels': 'no'}]}))[0] == 422
            assert (await call(app, '/healthz'))[0] == 200
        return answer

    answer = asyncio.run(whole())
    (path,) = (p for p in tmp_path.iterdir() if NAME.fullmatch(p.name))
    window = read_window(path)
    assert (window.seen, window.refused, window.bundle) == (3, 1, bundle.digest)
    # Of the three inputs of the request one is in the sample.
    assert (window.requests, len(window.ids)) == (1, 1)
    request, number = window.ids[0].split('/')
    assert request == answer['request_id']
    row = answer['predictions'][int(number)]
    assert [bundle.class_names[c] for c in window.rows.answers] == [row['predicted']]
    np.testing.assert_allclose(window.rows.values, [row['probability']], rtol=1e-6)
    assert window.rows.measures[:, :2].tolist() == [[7, 9]]
    kept = sorted((tmp_path / 'inputs').iterdir()) if rate else []
    assert rate or not (tmp_path / 'inputs').exists()
    assert [np.load(p).tolist() for p in kept] == (pixels if rate else [])
    if rate:
        assert oct((tmp_path / 'inputs').stat().st_mode)[-3:] == '700'
    assert json.dumps(pixels[0]).encode() not in path.read_bytes()


def test_kept_inputs_are_bounded_over_all_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_inputs, 'FILES', 3)
    monkeypatch.setattr(kept_inputs, 'BYTES', 9)
    for server in ('a', 'b', 'c'):
        kept = KeptInputs(tmp_path / 'few', 1.0, server, 0)
        for number in range(2):
            if kept.chosen():
                kept.write({}, f'{number}')
        small = KeptInputs(tmp_path / 'small', 1.0, server, 0)
        small.write('four', '0')  # six bytes
    assert len(list((tmp_path / 'few').iterdir())) == 3
    assert len(list((tmp_path / 'small').iterdir())) == 1


def test_reference_and_traffic_measure_alike(images, texts):
    for made_of, names in (
        (images, ('width', 'height', 'brightness', 'contrast')),
        (texts, ('characters', 'tokens')),
    ):
        bundle = serving.load(made_of.bundle, goldens=False)
        reference = read_reference(bundle.folder, bundle.signature)
        assert reference.measure_names == names
        assert np.isfinite(reference.measures).all()
        assert 0 <= reference.right <= reference.labelled == reference.count
    assert (reference.measures[:, 0] >= reference.measures[:, 1] - 2).all()  # letters, tokens
