"""Names from data obey nobody: not a terminal, a Markdown table, a page or a figure."""

import io
import logging

import numpy as np
import pytest

from ftjax.ablation.report.figures import draw
from ftjax.ablation.report.html import report_html
from ftjax.ablation.report.tables import table_markdown
from ftjax.ablation.summary.summary import summarise
from ftjax.cli.launch import _LevelFormatter, explain
from ftjax.data import Dataset, Splits
from ftjax.data.audit.overview import overview
from ftjax.errors import UserError
from ftjax.evaluation.prediction_figures import confusion_matrix_figure
from ftjax.export.model_card import CardFacts, model_card
from ftjax.io.process.progress import Progress
from ftjax.plotting.save import figure_bytes
from ftjax.printable import in_figure, in_html, in_markdown, printable, printable_lines
from ftjax.tasks import evaluate
from ftjax.tasks.classes.class_table import confusion_text
from ftjax.tasks.metrics_text import metrics_text
from ftjax.training.feature_cache.policy import compared, counted

NAMES = {
    'escape': 'cat\x1b[2J\x1b]0;owned\x07',
    'line': 'cat\n| fake | 99.9 |',
    'return': 'dog\rcat',
    'bar': 'a|b',
    'script': '<script>alert(1)</script>',
    'quote': '" onload="alert(1)',
    'formula': r'$\frac{1}{$',
    'markup': '[/red]cat[bold',
    'link': '[cat](javascript:alert(1))',
    'turned': 'cat\u202etac',
    'paragraph': 'cat\u2028dog',
    'half': 'cat\ud800',
    'c1': 'cat\x9b2J',
}
UNSEEN = '\x1b\x07\r\u202e\u2028\ud800\x9b'


@pytest.fixture(scope='module', params=NAMES, ids=list(NAMES))
def name(request):
    return NAMES[request.param]


@pytest.fixture(scope='module')
def summary():
    """Every name is an arm, a further test set and a stage; two of them are tasks."""
    rows = [
        {
            'task': task,
            'arm': arm,
            'rate': 1e-3,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': value},
            'test': {'accuracy': value},
            'shifts': {name: {'accuracy': value} for name in NAMES.values()},
            'movement': dict.fromkeys(NAMES.values(), 0.5),
            'params_trainable': 10 + len(arm),
            'params_total': 100,
        }
        for task in TASKS
        for arm in (*NAMES.values(), 'full')
        for seed, value in enumerate((0.5, 0.6, 0.4))
    ]
    return summarise(rows, reference=NAMES['escape'], question=' '.join(NAMES.values()))


TASKS = NAMES['formula'], NAMES['line']


def clean(text):
    return not any(char in text for char in UNSEEN)


def test_a_table_keeps_its_rows_and_holds_no_markup(summary):
    text = table_markdown(summary)
    assert clean(text) and '<script' not in text and '](' not in text
    tables = [part for part in text.split('\n\n') if part.startswith('|')]
    assert len(tables) == 2 * 2 + 1  # of each task, with further test sets, and of both together
    for table in tables:
        rows = [line.replace('\\|', '').split('|') for line in table.split('\n')]
        assert len(rows) == 2 + len(NAMES) + 1 and len({len(row) for row in rows}) == 1


def test_a_page_holds_no_markup(summary):
    page = report_html(summary, 'title', drawn=())
    assert clean(page) and '<script' not in page and 'onload="' not in page


def test_figures_are_drawn(summary):
    drawn = list(draw(summary))
    assert {one.task for one in drawn} == {None, *TASKS}
    assert len({one.name for one in drawn}) == len(drawn)
    for one in drawn:
        if one.name.startswith('scores_by_arm'):
            labels = [tick.get_text() for tick in one.figure.axes[0].get_yticklabels()]
            assert labels == [in_figure(name) for name in (*NAMES.values(), 'full')]
        assert figure_bytes(one.figure, 'png', 20)


def test_a_terminal_gets_class_names_on_one_line_each(name):
    found = evaluate(np.eye(2)[[0, 1, 1]], np.array([0, 1, 0]), class_names=(name, 'other'))
    for text in (metrics_text(found), confusion_text(found)):
        assert clean(text) and not any(line.startswith('| fake') for line in text.splitlines())
        text.encode('utf-8')
    labels = evaluate(
        np.array([[1.0, -1], [1, 1]]),
        np.array([[1, 0], [0, 1]]),
        task='multilabel',
        class_names=(name, 'other'),
    )
    assert clean(metrics_text(labels))
    assert figure_bytes(confusion_matrix_figure(found), 'png', 20)


def test_errors_logs_and_progress_are_lines(name):
    message, status = explain(UserError(f'no class {name}'))
    assert clean(message) and '\n' not in message and status == 2
    record = logging.LogRecord('ftjax', logging.WARNING, '', 0, 'class %s', (name,), None)
    assert clean(_LevelFormatter().format(record))
    stream = io.StringIO()
    with Progress(2, name, stream=stream, every_seconds=0) as bar:
        bar.update(1, {'arm': name})
    assert clean(stream.getvalue()) and len(stream.getvalue().splitlines()) == 2


def test_a_bar_in_a_terminal_takes_any_name(name):
    pytest.importorskip('rich')

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with Progress(2, name, stream=stream) as bar:
        bar.update(1, {'arm': name})
    assert '\x1b]0;' not in stream.getvalue() and '\u202e' not in stream.getvalue()


def test_a_card_holds_no_markup(name):
    facts = CardFacts(
        model_class='ViT', config={'init': name, 'data': {'source': name}}, plan={}, result={}
    )
    assert clean(model_card(facts)) and '<script' not in model_card(facts)


def test_what_is_harmless_stays_as_it_is():
    for text in (
        'Käse',
        '猫',
        'last:4+llrd:0.75',
        'a_b*c',
        '[82.6, 92.7]',
        '<0.001',
        'می‌خواهم',
        '👩‍🚀',
    ):
        assert printable(text) == in_markdown(text) == in_figure(text) == text
    assert printable_lines('a\nb') == 'a\nb' and in_html('<0.001') == '&lt;0.001'


def test_sentences_say_what_is_meant():
    stream = io.StringIO()
    with Progress(3, 'grid', stream=stream, every_seconds=0) as bar:
        bar.update(1)
    assert 'grid 1/3 (33 %), no estimate of the time left yet' in stream.getvalue()
    words = [compared(saved) for saved in (10.0, 2.0, 1.0, 0.8, 0.0)]
    assert words[:4] == ['10.0 times fewer', '2.0 times fewer', 'as many', '1.2 times as many']
    assert 'fewer' not in words[4] and 'unknown' not in counted(float('nan'))


@pytest.mark.parametrize('classes', [2, 30])
def test_the_first_screen_shows_names_of_classes_and_hides_no_line(name, classes):
    names = (name, *(str(k) for k in range(1, classes)))
    labels = np.repeat(np.arange(classes), 2)[: 2 * classes - 1]
    given = {'kind': 'text', 'inputs': [f'text {i}' for i in range(len(labels))]}
    data = Dataset(
        name='d', labels=labels[::-1] if classes == 2 else labels, class_names=names, **given
    )
    others = data.take(np.flatnonzero(data.labels)[:1])  # none of that name
    shown = overview(Splits(train=data, val=others, test=others))
    assert len(shown.splitlines()) > 1
    assert not set(UNSEEN) & set(shown)
    assert printable(name) in shown.splitlines()[0]
