"""From windows to alarms, page and gauges: what is found, what is refused, what is left alone."""

import asyncio
import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from asgi_calls import call, running

from ftjax import serving
from ftjax.errors import UserError
from ftjax.serving.bundle.answer_forms.class_answers import told_outputs
from ftjax.serving.bundle.manifest import MANIFEST, manifest_digest, write_manifest
from ftjax.serving.bundle.reference import measure, read_reference, write_reference
from ftjax.serving.bundle.signature import read_signature
from ftjax.serving.monitoring import periods
from ftjax.serving.monitoring.gauges import prometheus_text, read_gauges
from ftjax.serving.monitoring.later_labels import Labelled, fallen, read_labels
from ftjax.serving.monitoring.look_files import gauges_of
from ftjax.serving.monitoring.monitor_folder import monitor_folder
from ftjax.serving.monitoring.monitor_page import _verdict
from ftjax.serving.monitoring.sketch import Answered, Sketch
from ftjax.serving.monitoring.window_file import FLUSH, file_name, window_of, write_window

ROOT = pathlib.Path(__file__).resolve().parents[3]
WEEK = 7 * 86_400
START = 2900 * WEEK


def closed(weeks):
    """When the windows of the first weeks are closed."""
    return START + weeks * WEEK + 2 * FLUSH


class Traffic:
    """Writes windows of invented traffic for a bundle: features around those of the reference."""

    def __init__(self, bundle, folder):
        self.bundle, self.folder = bundle, folder
        self.signature = read_signature(bundle)
        self.reference = read_reference(bundle, self.signature)
        self.digest = manifest_digest(bundle)
        self.random = np.random.default_rng(0)
        folder.mkdir(exist_ok=True)

    def write(self, week, count=120, moved=0.0, server='0123abcd', digest=None, number=0):
        old, classes = self.reference, len(self.reference.predicted)
        sketch, at = Sketch(old, classes, week), self.random.integers(0, len(old.ids), count)
        spread = old.features.std(axis=0)
        for place, row in enumerate(at):
            features = old.features[row] + moved * spread
            best = int(old.answers[row])
            id, value = f'{week}-{server}-{place}/0', float(old.values[row])
            sketch.note([Answered(id, value, best, (best,), features, old.measures[row])])
        window = window_of(
            sketch,
            bundle=digest or self.digest,
            start=START + week * WEEK,
            seconds=WEEK,
            refused=0,
            seed=0,
        )
        write_window(self.folder / file_name(window, server, number), window)
        return window

    def look(self, weeks=10_000, **options):
        options = {'permutations': 299, 'now': closed(weeks), **options}
        return monitor_folder(self.bundle, self.folder, self.folder / 'monitor', **options)


@pytest.fixture
def traffic(images, tmp_path):
    """Of a bundle whose reference has 400 invented examples: that of the small run has 18."""
    bundle = tmp_path / 'bundle'
    shutil.copytree(images.bundle, bundle)
    signature, random = read_signature(bundle), np.random.default_rng(1)
    outputs = random.normal(size=(400, 3)).astype(np.float32)
    features = random.normal(size=(400, signature.features)).astype(np.float32)
    sizes = random.integers(8, 60, (400, 4)).astype(np.float32)
    labels = np.where(random.random(400) < 0.9, outputs.argmax(axis=1), 0)
    ids = tuple(map(str, range(400)))
    found = measure(
        *(told_outputs(outputs, signature), features, ids, signature, 'val'),
        measures=sizes,
        measure_names=read_reference(bundle, signature).measure_names,
        labels=labels,
    )
    write_reference(bundle, found)
    (bundle / MANIFEST).unlink()
    write_manifest(bundle, {'jax': '0'})
    return Traffic(bundle, tmp_path / 'windows')


def test_nothing_new_is_tested_twice_and_results_stay(traffic):
    for week in range(3):
        traffic.write(week)
    first = traffic.look(weeks=2)
    assert (len(first.look.tested), first.look.waiting, first.look.alarms) == (2, 1, ())
    output = traffic.folder / 'monitor'
    before = (output / 'monitor.json').read_bytes()
    again = traffic.look(weeks=2)
    assert (len(again.look.tested), len(again.look.state.periods)) == (0, 2)
    assert (output / 'monitor.json').read_bytes() == before
    assert len(traffic.look(weeks=3).look.tested) == 1
    # In one look instead of three: the same numbers.
    apart = monitor_folder(
        *(traffic.bundle, traffic.folder, traffic.folder / 'other'),
        permutations=299,
        now=closed(3),
    )
    assert apart.look.state.periods == traffic.look(weeks=3).look.state.periods


def test_a_window_waits_until_no_server_writes_it_any_more(traffic):
    traffic.write(0, count=100)
    at_its_end = traffic.look(now=START + WEEK + FLUSH).look
    assert (len(at_its_end.tested), at_its_end.waiting) == (0, 1)
    traffic.write(0, count=120)  # the last write, up to FLUSH and its own time after the end
    found = traffic.look(weeks=1).look
    assert [period.seen for period in found.tested] == [120] and not found.late


def test_a_change_alarms_and_the_alarm_stays_until_a_restart(traffic):
    for week in range(6):
        traffic.write(week, moved=0.0 if week < 3 else 1.0)
    assert traffic.look(weeks=3).look.alarms == ()
    found = traffic.look()
    assert found.look.alarms == ('traffic',)
    for week in range(6, 9):
        traffic.write(week)
    found = traffic.look()
    assert found.look.alarms == ('traffic',)
    moved, back = (found.look.state.periods[i]['statistics']['features'] for i in (5, 8))
    assert moved['to_reference'] > 0.9
    assert back['to_reference'] < 0.6
    page = (traffic.folder / 'monitor' / 'monitor.html').read_text()
    assert 'ALARM: the traffic differs from the reference' in page
    assert '<script' not in page
    restarted = traffic.look(restart=True)
    assert (restarted.look.alarms, restarted.look.late, restarted.look.tested) == ((), 0, ())
    assert list((traffic.folder / 'monitor').glob('*.previous'))
    with pytest.raises(UserError, match=r'began with 0\.05'):
        traffic.look(alpha=0.01)


def test_a_restart_that_fails_leaves_the_stream_as_it_was(traffic, monkeypatch):
    for week in range(2):
        traffic.write(week)
    traffic.look(weeks=2)
    (state,) = (traffic.folder / 'monitor').glob('state_*.safetensors')
    before = state.read_bytes()
    with pytest.raises(UserError, match='alpha'):
        traffic.look(restart=True, alpha=1.5)
    with monkeypatch.context() as patch:
        patch.setattr(f'{monitor_folder.__module__}.write_look', lambda *_: 1 / 0)  # killed
        with pytest.raises(ZeroDivisionError):
            traffic.look(restart=True)
    assert state.read_bytes() == before
    assert traffic.look(restart=True).look.tested == ()  # what was tested is not tested again
    assert state.with_suffix('.previous').read_bytes() == before


def test_small_windows_wait_for_each_other_and_replicas_are_put_together(traffic):
    assert traffic.look().look.tested == ()  # an empty folder
    traffic.write(0, count=1)
    found = traffic.look()
    assert (found.look.tested, found.look.waiting) == ((), 1)
    traffic.write(1, count=30)
    traffic.write(1, count=25, server='fedc0000')
    (period,) = traffic.look().look.tested
    assert (period.seen, len(period.rows)) == (56, 56)
    assert (period.start, period.end) == (START, START + 2 * WEEK)
    traffic.write(0, server='99990000')
    assert (traffic.look().look.tested, traffic.look().look.late) == ((), 1)


def test_a_sample_of_several_servers_is_a_fair_one():
    random, drawn = np.random.default_rng(0), []
    counts, have = np.array([9000.0, 1000.0, 20.0]), np.array([512, 512, 20])
    for _ in range(300):
        drawn.append(periods.shares(counts, have, 512, random))
        assert sum(drawn[-1]) == 512
    expected = 512 * counts / counts.sum()
    np.testing.assert_allclose(np.mean(drawn, axis=0), expected, atol=1.5)
    assert periods.shares(counts * 1e12, have, 512, random)[0] <= 512  # counts of a hostile file


def test_other_bundles_and_damaged_files_are_told_and_cost_nothing(traffic, monkeypatch):
    for week in range(2):
        traffic.write(week)
    traffic.write(0, digest='f' * 64, server='11110000', moved=9.0)
    broken = traffic.folder / 'window_20260101T000000Z_604800_aaaa0000_0.safetensors'
    broken.write_bytes(b'\x80\x04pickle')
    os.mkfifo(traffic.folder / 'window_20260101T000000Z_604800_aaaa0000_1.safetensors')
    window = traffic.write(5, server='22220000')
    narrow = dataclasses.replace(window, predicted=window.predicted[:1] * 0)
    narrow.rows.answers[:] = 0
    write_window(traffic.folder / file_name(window, '22220000', 0), narrow)
    found = traffic.look()
    assert len(found.look.tested) == 2
    assert found.look.folder.others == 1
    assert len(found.look.folder.problems) == 3
    assert all(str(traffic.folder) in problem for problem in found.look.folder.problems)
    monkeypatch.setattr(periods, 'MOST_FILES', 3)
    with pytest.raises(UserError, match='expected at most 3'):
        traffic.look()


def test_a_damaged_state_is_refused_and_a_restart_helps(traffic):
    traffic.write(0)
    traffic.look()
    (state,) = (traffic.folder / 'monitor').glob('state_*.safetensors')
    whole, random = state.read_bytes(), np.random.default_rng(0)
    for number in range(40):
        data = bytearray(whole[: random.integers(len(whole))] if number % 2 else whole)
        for at in random.integers(0, min(len(data), 2000), 5) if len(data) else ():
            data[at] = random.integers(256)
        state.write_bytes(bytes(data))
        with pytest.raises(UserError, match='state_'):
            traffic.look()
    assert len(traffic.look(restart=True).look.tested) == 1


def test_labels_that_come_later(traffic, tmp_path):
    names, file = traffic.signature.class_names, tmp_path / 'labels.jsonl'
    windows = [traffic.write(week) for week in range(4)]
    right = traffic.reference.right / traffic.reference.labelled
    random = np.random.default_rng(0)

    def labels(weeks, rate):
        rows = []
        for window in windows[:weeks]:
            for id, answer in zip(window.ids, window.rows.answers, strict=True):
                wrong = random.random() >= rate
                rows.append({'id': id, 'label': names[(answer + wrong) % 3]})
        file.write_text(''.join(json.dumps(row) + '\n' for row in rows))

    labels(2, right)
    found = traffic.look(weeks=4, labels=str(file))
    assert (found.look.alarms, found.look.unknown_labels) == ((), 0)
    assert [one.count for one in found.look.accuracy] == [120, 120]
    labels(4, right - 0.3)
    found = traffic.look(weeks=4, labels=str(file))
    assert found.look.alarms == ('accuracy',)
    assert len(found.look.state.labels_used) == 4  # the first two are not taken twice
    assert 'ALARM: accuracy' in (traffic.folder / 'monitor' / 'monitor.html').read_text()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('id,lable\na/0,ant\n', "did you mean 'lable'"),
        ('id,label\na/0,ants\n', "line 2: label 'ants'; did you mean 'ant'"),
        ('id,label\na/0,\n', 'line 2: no label'),
        ('id,label\na/0,ant\na,bee\n', "a second label of 'a/0'"),
        ('id,label\na/0,ant,bee\n', 'line 2: 3 cells for 2 columns'),
        ('id,label,id\na/0,ant,b/0\n', "several columns are named 'id'"),
        ('\xff', 'cannot be read'),
    ],
)
def test_labels_that_cannot_be_used_are_named(tmp_path, text, message):
    path = tmp_path / 'l.csv'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(UserError, match=message):
        read_labels(path, ('ant', 'bee', 'cat'))


def test_labels_with_blanks_around_and_odd_letters_are_read(tmp_path):
    path = tmp_path / 'l.csv'
    path.write_text('id,label\n a/0 , ant\n')
    assert read_labels(path, ('ant', ' bee')) == {'a/0': 0}
    lines = tmp_path / 'l.jsonl'
    lines.write_text('{"id": "a", "label": " bee", "note": "one\u2028line"}\n', encoding='utf-8')
    assert read_labels(lines, ('ant', ' bee')) == {'a/0': 1}
    lines.write_text('{"id": {"a": 1}, "label": "ant"}\n')
    with pytest.raises(UserError, match='line 1: id is'):
        read_labels(lines, ('ant', 'bee'))


def test_labels_wait_for_the_end_of_their_window_and_late_ones_are_told(traffic, tmp_path):
    names, file, window = traffic.signature.class_names, tmp_path / 'l.jsonl', traffic.write(0)

    def labelled(count):
        rows = zip(window.ids[:count], window.rows.answers[:count], strict=True)
        text = ''.join(json.dumps({'id': id, 'label': names[answer]}) + '\n' for id, answer in rows)
        file.write_text(text)

    labelled(30)
    early = traffic.look(weeks=0.5, labels=str(file)).look
    assert (early.accuracy, early.unknown_labels, early.state.labels_used) == ((), 0, [])
    assert traffic.look(weeks=1, labels=str(file)).look.late_labels == 0
    labelled(120)
    late = traffic.look(weeks=1, labels=str(file))
    assert late.look.late_labels == 90
    assert any(line.startswith('90 labels came after') for line in late.lines)


def test_labels_of_answers_before_a_restart_are_known(traffic, tmp_path):
    names, file = traffic.signature.class_names, tmp_path / 'l.jsonl'
    windows = [traffic.write(week) for week in range(2)]
    rows = [{'id': id, 'label': names[0]} for window in windows for id in window.ids]
    rows.append({'id': 'of/0', 'label': names[0]})  # of nobody
    file.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    traffic.look(weeks=1)
    found = traffic.look(weeks=2, labels=str(file), restart=True).look
    assert ([one.count for one in found.accuracy], found.unknown_labels) == ([120], 1)


def test_an_alarm_without_a_period_is_said_first(traffic):
    found = traffic.look().look
    assert _verdict(found) == 'Nothing was tested yet.'
    found.state.label_evidence = dataclasses.replace(found.state.label_evidence, highest=1e9)
    assert _verdict(found) == 'ALARM: accuracy is below that of the reference.'


def test_an_output_that_is_a_file_is_one_line(traffic, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be made a folder'):
        monitor_folder(traffic.bundle, traffic.folder, tmp_path / 'file', now=START)


def test_p_of_a_fall_is_fishers_and_uniform_without_one():
    from scipy import stats

    random = np.random.default_rng(0)
    table = [[12, 28], [20, 180]]  # wrong and right: new, before
    expected = stats.fisher_exact(table, 'greater').pvalue
    drawn = [fallen(Labelled(0, 28, 40), 180, 200, random) for _ in range(400)]
    assert max(drawn) == pytest.approx(expected, rel=0.03)  # the least favourable tie
    p = []
    for _ in range(600):
        wrong = random.random(100) < 0.2
        p.append(
            fallen(Labelled(0, int((~wrong[:30]).sum()), 30), int((~wrong[30:]).sum()), 70, random)
        )
    assert stats.kstest(p, 'uniform').pvalue > 0.001
    assert fallen(Labelled(0, 1, 5), 180, 200, random) is None


def test_gauges_are_prometheus_and_come_back(traffic):
    parser = pytest.importorskip('prometheus_client.parser')
    for week in range(3):
        traffic.write(week, moved=2.0)
    found = traffic.look()
    text = (traffic.folder / 'monitor' / 'monitor.prom').read_text()
    assert text == prometheus_text(gauges_of(found.look), traffic.digest)
    families = {f.name: f for f in parser.text_string_to_metric_families(text)}
    alarms = {s.labels['of']: s.value for s in families['ftjax_drift_alarm'].samples}
    assert alarms == {'traffic': 1.0, 'accuracy': 0.0}
    assert read_gauges(traffic.folder / 'monitor', traffic.digest) == gauges_of(found.look)
    assert read_gauges(traffic.folder / 'monitor', 'e' * 64) == []


@pytest.mark.skipif(not importlib.util.find_spec('fastapi'), reason='needs the extra serve')
def test_a_server_shows_the_gauges_and_survives_a_damaged_file(traffic):
    from ftjax.serving.monitoring.traffic_monitor import TrafficMonitor
    from ftjax.serving.server.http_app import guarded_app
    from ftjax.serving.server.server_settings import ServerSettings
    from ftjax.serving.server.service import Service

    traffic.write(0)
    traffic.look()
    bundle = serving.load(traffic.bundle, goldens=False)
    kept = TrafficMonitor(bundle, traffic.reference, traffic.folder)
    file = traffic.folder / 'monitor' / 'monitor.json'

    async def whole():
        service = Service(bundle, ServerSettings(batch_sizes=(1,)), kept)
        app = guarded_app(service)
        async with running(service):
            texts = [(await call(app, '/metrics'))[2].decode()]
            file.write_text('{"bundle": "' + bundle.digest + '", "gauges": [{"name": "x"}]}')
            texts.append((await call(app, '/metrics'))[2].decode())
        return texts

    sound, damaged = asyncio.run(whole())
    assert 'ftjax_drift_periods{of=""} 1.0' in sound
    assert 'ftjax_drift_readable 1.0' in sound
    assert 'ftjax_drift_readable 0.0' in damaged
    assert 'ftjax_drift_periods' not in damaged


@pytest.mark.slow
def test_exit_codes_for_cron(traffic):
    def run(*more):
        words = [sys.executable, 'scripts/monitor.py', f'--bundle={traffic.bundle}']
        done = subprocess.run(
            [*words, f'--windows={traffic.folder}', *more], cwd=ROOT, capture_output=True, text=True
        )
        assert 'Traceback' not in done.stderr, done.stderr
        return done

    traffic.write(0)
    fine = run()
    assert (fine.returncode, 'no alarm' in fine.stdout) == (0, True), fine.stderr
    assert run('--windows=nowhere').returncode == 2
    for week in range(1, 5):
        traffic.write(week, moved=2.0)
    alarm = run()
    assert (alarm.returncode, 'ALARM: traffic' in alarm.stdout) == (1, True), alarm.stderr
    assert run('--restart').returncode == 0
    (traffic.folder / 'window_20260101T000000Z_60_aaaa0000_0.safetensors').write_bytes(b'')
    broken = run()
    assert broken.returncode == 2
    assert 'error: ' in broken.stderr


def test_a_thousand_windows_are_read_once(traffic, monkeypatch):
    for week in range(4):
        traffic.write(week, count=60)
    read = []
    real = periods.read_window
    monkeypatch.setattr(periods, 'read_window', lambda path: read.append(path.name) or real(path))
    traffic.look(weeks=3)
    assert len(read) == 4
    traffic.look(weeks=4)
    assert len(read) == 5  # the one that was not over
    found = traffic.look(weeks=4)
    assert (len(read), found.look.late, found.look.waiting) == (5, 0, 0)


def test_windows_of_no_answer_and_of_broken_answers_are_no_evidence(traffic):
    width = traffic.reference.features.shape[1]
    for week in range(3):
        sketch = Sketch(traffic.reference, 3, week)
        broken = np.full(width, np.nan, np.float32)
        sketch.note([Answered('r/0', 0.5, 0, (0,), broken, np.zeros(4))] * (week * 40))
        window = window_of(
            sketch,
            bundle=traffic.digest,
            start=START + week * WEEK,
            seconds=WEEK,
            refused=7,
            seed=0,
        )
        write_window(traffic.folder / file_name(window, '0123abcd', 0), window)
    found = traffic.look()
    assert (found.look.tested, found.look.waiting, found.look.alarms) == ((), 3, ())
    traffic.write(3)
    (period,) = traffic.look().look.tested
    assert (period.seen, period.unusable, period.refused) == (120, 120, 21)
    page = (traffic.folder / 'monitor' / 'monitor.html').read_text()
    assert '120 answers from' in page
