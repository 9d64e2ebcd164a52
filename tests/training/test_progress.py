"""The ETA leaves compilation out, and lines come where there is no terminal."""

import io
import sys
import types

import pytest

from ftjax.io.process.progress import Pace, Progress, duration


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_pace_leaves_the_first_mark_and_excluded_time_out():
    pace = Pace(total=100)
    pace.mark(1, 60.0)  # a minute of compilation
    assert pace.rate is None and pace.seconds_left is None
    pace.mark(11, 65.0)
    assert pace.rate == pytest.approx(2.0)
    pace.exclude(30.0)  # a second program is compiled
    pace.mark(21, 100.0)
    assert pace.rate == pytest.approx(2.0)
    assert pace.seconds_left == pytest.approx(79 / 2)


def test_resumed_run_counts_only_its_own_units():
    pace = Pace(total=100, start=50)
    pace.mark(51, 1.0)
    pace.mark(61, 11.0)
    assert pace.rate == pytest.approx(1.0)
    assert pace.seconds_left == pytest.approx(39.0)


def test_plain_lines_come_at_most_every_few_seconds():
    clock, stream = Clock(), io.StringIO()
    with Progress(100, 'train', stream=stream, clock=clock, every_seconds=5) as progress:
        with progress.excluded('compiling'):
            clock.now += 30
        for step in range(1, 101):
            clock.now += 0.5
            progress.update(step, {'loss': 1 / step})
    lines = stream.getvalue().splitlines()
    assert lines[0] == 'train 0/100 (0 %), compiling'
    # 50 s of steps at one line in 5 s, the compilation line and the last one.
    assert len(lines) == 1 + 10 + 1
    assert lines[2] == 'train 11/100 (11 %), 2 steps/s, 44 s left, loss 0.09091'
    assert lines[-1] == 'train 100/100 (100 %), done in 1 min 20 s, loss 0.01'


def test_a_loop_that_grows_goes_on_telling():
    clock, stream = Clock(), io.StringIO()
    with Progress(2, 'grid', unit='runs', stream=stream, clock=clock) as progress:
        for done, total in ((1, 2), (2, 4), (3, 3)):
            clock.now += 90
            progress.grow(total)
            progress.update(done)
    lines = stream.getvalue().splitlines()
    assert lines[1:3] == [
        'grid 2/4 (50 %), 90 s a run, 3 min 00 s left',
        'grid 3/4 (75 %), 90 s a run, 1 min 30 s left',
    ]


def test_slow_units_are_told_in_seconds_each():
    clock, stream = Clock(), io.StringIO()
    with Progress(4, 'grid', unit='runs', stream=stream, clock=clock) as progress:
        for done in (1, 2):
            clock.now += 90
            progress.update(done)
    assert '2/4 (50 %), 90 s a run, 3 min 00 s left' in stream.getvalue()


def test_no_more_time_is_told_than_a_budget_leaves():
    clock, stream = Clock(), io.StringIO()
    with Progress(40, 'grid', unit='runs', stream=stream, clock=clock, at_most=600) as progress:
        for done in (1, 2, 34):
            clock.now += 90
            progress.update(done)
    first, second, third, _ = stream.getvalue().splitlines()
    assert first.endswith('at most 8 min 30 s left')
    assert second.endswith('90 s a run, at most 7 min 00 s left')
    assert third.endswith('33 s left') and 'at most' not in third


def test_disabled_shows_nothing_and_an_error_says_stopped():
    stream = io.StringIO()
    with Progress(2, 'quiet', stream=stream, enabled=False) as progress:
        progress.update(1)
    assert stream.getvalue() == ''
    with pytest.raises(KeyError), Progress(2, 'loud', stream=stream) as progress:
        progress.update(1)
        raise KeyError
    assert 'loud 1/2 (50 %), stopped' in stream.getvalue()


def test_terminal_gets_a_bar():
    pytest.importorskip('rich')

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with Progress(2, 'train', stream=stream) as progress:
        progress.update(1, {'loss': 0.25})
        progress.update(2, {'loss': 0.125})
    assert '2/2' in stream.getvalue() and 'loss 0.125' in stream.getvalue()


def test_durations():
    assert [duration(s) for s in (0.4, 59.6, 61, 7261)] == [
        '0 s',
        '1 min 00 s',
        '1 min 01 s',
        '2 h 01 min',
    ]


def test_rows_come_under_their_headings_once():
    stream = io.StringIO()
    with Progress(2, 'train', stream=stream) as progress:
        with progress.excluded('validating', tell=False):
            pass
        progress.row({'epoch': 1.0, 'val loss': 0.5, 'rate': None}, 'best so far')
        progress.row({'epoch': 2.0, 'val loss': 0.75, 'rate': 1e-3})
        progress.update(2)
    heads, first, second = (line.split() for line in stream.getvalue().splitlines()[:3])
    assert heads == ['epoch', 'val', 'loss', 'rate']
    assert first == ['1', '0.5', '–', 'best', 'so', 'far'] and second == ['2', '0.75', '0.001']


def test_rows_stand_above_the_bar_of_a_terminal():
    pytest.importorskip('rich')

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with Progress(1, 'train', stream=stream) as progress:
        progress.row({'epoch': 1.0, 'val [b]loss': 0.5}, 'best')
    assert 'val [b]loss' in stream.getvalue()


def test_a_notebook_gets_one_table_in_place(monkeypatch):
    shown = []

    class Handle:
        def update(self, page):
            shown.append(page)

    def display(page, display_id):
        shown.append(page)
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    for name, module in {
        'IPython': types.SimpleNamespace(get_ipython=lambda: shell),
        'IPython.display': types.SimpleNamespace(HTML=str, display=display),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    stream = io.StringIO()
    with Progress(40, 'a <b>', stream=stream) as progress:
        for epoch in range(1, 41):
            progress.row({'epoch': float(epoch)}, 'best')
    assert stream.getvalue() == ''
    assert 'a &lt;b&gt;' in shown[-1] and '<table' in shown[-1]
    assert shown[-1].count('<tr>') == 1 + 15  # the headings and the last rows
