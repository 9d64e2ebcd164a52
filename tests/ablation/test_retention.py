"""What arms forget against the network before anything was added: numbers, words, figure."""

import json

import numpy as np
import pytest
from matplotlib.text import Text

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.task_grids import check_grids
from ftjax.ablation.report.figures import draw, drawable
from ftjax.ablation.report.figures_retention import frame, learning_and_forgetting
from ftjax.ablation.report.gate_verdicts import grid_verdicts
from ftjax.ablation.report.html import report_html
from ftjax.ablation.report.retention_table import retention_sentence, retention_table
from ftjax.ablation.report.tables import table_markdown
from ftjax.ablation.retention.retention import Retention
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.statistics.comparison import compare_to_reference
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError
from ftjax.tasks.metrics import metric_of

# Losses on general text, a seed each. Minus pretrained: full .9, 1.0, 1.1; head 0, .1, -.1.
TEXT = {'full': (3.9, 4.1, 4.3), 'head': (3.0, 3.2, 3.1), 'pretrained': (3.0, 3.1, 3.2)}
TASK = {'full': 0.80, 'head': 0.70, 'pretrained': 0.10}


def rows_of(kept=TEXT, task=TASK, metric='accuracy', on='nll'):
    return [
        {
            'arm': arm,
            'rate': None if arm == 'pretrained' else 1e-3,
            'seed': seed,
            'status': 'ok',
            'val': {metric: task[arm]},
            'test': {metric: task[arm] + 0.001 * ((3 * seed + len(arm)) % 5)},
            'shifts': {'text': {on: value, 'n': 40}},
            'step_seconds_median': 0.25,
            'step_bytes': 3 * 2**20,
            'optimizer_bytes': 1536,
        }
        for arm, values in kept.items()
        for seed, value in enumerate(values)
    ]


def retention(on='nll', margin=0.0):
    return Retention(of='text', metric=metric_of(on), margin=margin, before='pretrained')


def summary_of(rows, asked, **more):
    given = {'reference': 'full', 'outside_prior': ('pretrained',), 'margin': 0.01}
    return summarise(rows, retention=asked, **{**given, **more})


def kept(summary):
    return {arm['arm']: arm['retention'] for arm in summary['tasks'][0]['arms']}


def test_changes_are_those_of_the_same_seed_before_anything_was_added():
    summary = summary_of(rows_of(), retention())
    found = kept(summary)
    assert summary['retention'] == {
        'of': 'text',
        'metric': 'nll',
        'higher_is_better': False,
        'margin': 0.0,
        'before': 'pretrained',
    }
    assert found['pretrained']['change'] is None
    assert found['full']['change']['interval']['estimate'] == pytest.approx(1.0)
    assert found['head']['change']['interval']['estimate'] == pytest.approx(0.0)
    assert found['head']['mean']['estimate'] == pytest.approx(3.1)
    assert found['head']['seeds'] == {'0': 3.0, '1': 3.2, '2': 3.1}
    same = compare_to_reference(
        TEXT, 'pretrained', higher_is_better=False, margin=0.0, outside_prior=('pretrained',)
    )
    for arm in ('full', 'head'):
        interval = found[arm]['change']['interval']
        assert (interval['low'], interval['high']) == pytest.approx((same[arm].low, same[arm].high))
        assert interval['method'] == 'simultaneous' and interval['n'] == 3
    assert found['full']['change']['interval']['low'] > 0
    assert found['full']['change']['verdict'] == 'worse'
    assert found['head']['change']['verdict'] == 'undecided'


def test_of_one_arm_the_interval_is_that_of_the_paired_t_test():
    rows = [row for row in rows_of() if row['arm'] != 'head']
    interval = kept(summary_of(rows, retention()))['full']['change']['interval']
    half = 4.302653 * 0.1 / np.sqrt(3)  # Student's t, 2 degrees of freedom; .9, 1.0, 1.1
    assert interval['estimate'] == pytest.approx(1.0)
    # Its critical value is read off 10,000 draws.
    assert interval['high'] - 1.0 == pytest.approx(half, rel=0.05)


def test_gates_on_what_is_kept_are_in_the_metric_there_and_count_its_direction():
    settings = AblationSettings(
        arms={'full': 'full', 'head': 'head', 'pretrained': {'baseline': 'pretrained'}},
        rates=(1e-3,),
        also_evaluate={'text': 'docstrings:unlabelled'},
        retention='text',
        retention_metric='nll',
        retention_margin=0.0,
        retention_gates=(
            ('above', 'head', 'full'),
            ('above', 'full', 'head'),
            ('difference', 'full', 'pretrained'),
        ),
    )
    rows = rows_of()
    found = grid_verdicts(settings, summary_of(rows, settings.retention_asked), rows)
    assert [one['passed'] for one in found] == [True, False, None]
    # Nats of full 3.9, 4.1, 4.3, of head 3.0, 3.2, 3.1, of pretrained 3.0, 3.1, 3.2; lower is more.
    assert [one['value'] for one in found] == pytest.approx([1.0, -1.0, 1.0])
    assert found[0]['gate'].startswith('text: head above full (lower ')
    with pytest.raises(UserError, match='retention_gates says nothing without a test set'):
        AblationSettings(
            arms={'full': 'full', 'head': 'head'},
            rates=(1e-3,),
            retention_gates=(('above', 'head', 'full'),),
        )


def test_the_direction_is_that_of_the_metric_on_the_other_set():
    rising = {arm: tuple(value / 5 for value in values) for arm, values in TEXT.items()}
    rows = rows_of(rising, {'full': 2.0, 'head': 2.5, 'pretrained': 4.0}, 'nll', 'accuracy')
    summary = summary_of(rows, retention('accuracy'), metric='nll')
    assert not summary['higher_is_better'] and summary['retention']['higher_is_better']
    assert kept(summary)['full']['change']['verdict'] == 'better'
    header, (full, head, pretrained) = retention_table(summary['tasks'][0], summary)
    assert header == [
        *('arm', 'difference to full', 'verdict', 'text: accuracy (%)', 'change of text'),
        *('forgetting', 'time of a step', 'memory of a step', 'optimizer state'),
    ]
    assert full[0] == 'full (reference)' and full[4].startswith('+20.0 [') and full[5] == 'gains'
    assert head[2] == pretrained[2] == 'worse' and pretrained[4:6] == ['–', '–']
    assert full[6:] == ['250 ms', '3.00 MiB', '1.50 KiB']
    fallen = {**rising, 'full': (0.4, 0.42, 0.44)}
    rows = rows_of(fallen, {'full': 2.0, 'head': 2.5, 'pretrained': 4.0}, 'nll', 'accuracy')
    lost = summary_of(rows, retention('accuracy'), metric='nll')
    assert kept(lost)['full']['change']['verdict'] == 'worse'


def test_words_stand_for_ranks_and_every_column_is_explained():
    close = {**TEXT, 'head': (3.001, 3.099, 3.2)}
    summary = summary_of(rows_of(close), retention(margin=0.3))
    task = summary['tasks'][0]
    words = {row[0]: row[5] for row in retention_table(task, summary)[1]}
    assert words == {'full (reference)': 'forgets', 'head': 'keeps (±0.3)', 'pretrained': '–'}
    sentence = retention_sentence(task, summary)
    assert sentence.endswith(': 1 forget (full); 1 keep it within ±0.3 (head).')
    text = table_markdown(json.loads(json.dumps(summary)))
    section = text[text.index('### Learning and forgetting') :]
    header = next(line for line in section.splitlines() if line.startswith('| arm'))
    titles = [cell.strip() for cell in header.strip('|').split('|')]
    assert not [title for title in titles if f'- **{title}**: ' not in section]
    assert 'Above 0 is forgotten.' in section
    open_ = summary_of(rows_of(), retention())
    words = {row[0]: row[5] for row in retention_table(open_['tasks'][0], open_)[1]}
    assert words['head'].startswith('no significant change')


def test_one_seed_gives_no_verdict():
    summary = summary_of([row for row in rows_of() if row['seed'] == 0], retention())
    full = retention_table(summary['tasks'][0], summary)[1][0]
    assert full[4:6] == ['+0.9', 'no verdict']
    assert '1 have no verdict' not in retention_sentence(summary['tasks'][0], summary)


def test_nothing_is_said_where_nothing_asks_or_nothing_was_measured():
    summary = summary_of(rows_of(on='accuracy'), None)
    assert 'retention' not in summary and 'retention' not in summary['tasks'][0]['arms'][0]
    assert 'Learning and forgetting' not in table_markdown(summary) + report_html(summary, 't')
    assert 'learning_and_forgetting' not in [drawn.name for drawn in draw(summary)]
    bare = [{**row, 'shifts': {}} for row in rows_of()]
    summary = summary_of(bare, retention())
    assert 'No arm could be compared with pretrained on text.' in table_markdown(summary)
    assert learning_and_forgetting(summary['tasks'][0], summary) is None


ASKED = {
    'arms': {'full': 'full', 'before': {'baseline': 'pretrained'}},
    'rates': (1e-3,),
    'also_evaluate': {'clean': {'corruption': 'none'}, 'text': 'docstrings:unlabelled'},
    'retention': 'clean',
}


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'retention': 'claen'}, "did you mean 'clean'"),
        ({'also_evaluate': {}}, 'also_evaluate names no further test set'),
        ({'arms': {'full': 'full'}}, "'pretrained': {'baseline': 'pretrained'}"),
        (
            {'arms': {'a': {'baseline': 'pretrained'}, 'b': {'baseline': 'pretrained'}}},
            'expected one',
        ),
        (
            {'arms': {'full': 'full', 'b': {'baseline': 'pretrained', 'freeze': 'lora:8'}}},
            "'b' changes freeze",
        ),
        ({'retention_metric': 'acuracy'}, "did you mean 'accuracy'"),
        ({'retention': '', 'retention_margin': 0.1}, 'retention_margin says nothing'),
        ({'retention': '', 'retention_metric': 'nll'}, 'retention_metric says nothing'),
        ({'retention_margin': -1.0}, 'retention_margin'),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        AblationSettings(**{**ASKED, **changes})


def test_metric_and_margin_follow_those_of_the_task_unless_they_are_named():
    asked = AblationSettings(**ASKED, margin=0.02).retention_asked
    assert (asked.metric.name, asked.margin, asked.before) == ('accuracy', 0.02, 'before')
    asked = AblationSettings(**ASKED, margin=0.02, retention_metric='log_loss').retention_asked
    assert (asked.metric.name, asked.margin) == ('log_loss', 0.0)
    assert AblationSettings(**ASKED, retention_margin=0.5).retention_asked.margin == 0.5


def test_a_metric_that_the_other_task_lacks_is_refused_before_the_first_run():
    values = {'init': 'glyphs', 'data': {'source': 'digits:scattered', 'task': 'classification'}}
    check_grids(values, AblationSettings(**ASKED))
    with pytest.raises(UserError, match="clean: retention metric 'perplexity'"):
        check_grids(values, AblationSettings(**ASKED, retention_metric='perplexity'))


def test_the_network_before_has_nothing_added_whatever_the_config_adds():
    values = {'init': 'glyphs', 'data': {'source': 'digits'}, 'freeze': 'prompt_deep:2'}
    runner = CellRunner(values, AblationSettings(**ASKED))
    assert runner.config_of('before', None, 0).freeze.strategy == 'full'
    assert runner.config_of('full', 1e-3, 0).freeze.strategy == 'full'


MANY = (
    *('full', 'head', 'last:1', 'last:2', 'last:4', 'first:2', 'blocks:2-4', 'bitfit', 'norm'),
    *('lora:8', 'lora:8,all', 'dora:8', 'adapter:8', 'ia3', 'mlp_in', 'attention_proj'),
    *('full+l2_sp:0.1', 'full+wise_ft', 'full+ema:0.99', 'pretrained'),
)


def many(arms, spread):
    """Rows of five seeds; the arms lie as far from each other as `spread` says, in points."""
    rng = np.random.default_rng(0)
    places = {arm: rng.normal(0, spread / 100, 2) for arm in arms}
    places['pretrained'] = np.array([0.1, -0.4])
    kept = {arm: 0.8 + x + rng.normal(0, 0.004, 5) for arm, (x, _) in places.items()}
    rows = rows_of(kept, {arm: 0.6 + y for arm, (_, y) in places.items()}, on='accuracy')
    for row in rows:
        row['test']['accuracy'] += rng.normal(0, 0.004)
    return rows


@pytest.mark.parametrize('spread', [0.2, 3.0])
def test_twenty_arms_are_told_apart_in_the_figure(spread):
    summary = drawable(summary_of(many(MANY, spread), retention('accuracy')))
    figure = learning_and_forgetting(summary['tasks'][0], summary)
    (axes,), renderer = figure.axes, figure.canvas.get_renderer()
    assert len(axes.texts) == len(MANY)
    boxes = [Text.get_window_extent(label, renderer) for label in axes.texts]
    assert not [1 for i, box in enumerate(boxes) for other in boxes[:i] if box.overlaps(other)]
    # No change is drawn, and the arm far below stands at the border with its score.
    assert [line for line in axes.lines if list(line.get_xdata()) == [0, 0]]
    assert 'pretrained (' in ' '.join(label.get_text() for label in axes.texts)
    low, high = axes.get_ylim()
    assert low > 50 and high < 75


def test_bars_are_the_simultaneous_intervals_on_both_axes():
    summary = summary_of(rows_of(), retention())
    full, head, _ = summary['tasks'][0]['arms']
    axes = learning_and_forgetting(summary['tasks'][0], summary).axes[0]
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    change, difference = head['retention']['change']['interval'], head['difference']['interval']
    middle = 100 * full['mean']['estimate']
    ups = [middle + 100 * difference[end] for end in ('low', 'high')]
    level = middle + 100 * difference['estimate']
    assert any(
        x == pytest.approx([change['low'], change['high']]) and y == pytest.approx([level, level])
        for x, y in lines
        if len(x) == 2
    )
    assert any(
        x == pytest.approx([0.0, 0.0], abs=1e-9) and y == pytest.approx(ups)
        for x, y in lines
        if len(x) == 2
    )


def test_the_frame_holds_what_must_be_there_and_is_not_squeezed():
    near = [(0.1 * i, 0.1 * i - 0.05, 0.1 * i + 0.05) for i in range(6)]
    low, high = frame([*near, (9.0, 8.9, 9.1)], 0.0)
    assert low < -0.05 and 0.55 < high < 1
    low, high = frame([(5.0, 4.9, 5.1), (5.1, 5.0, 5.2)], 0.0)
    assert low < 0 and high > 5.2
    low, high = frame([(0.2, -80.0, 80.0), *near], 0.0)
    assert low > -2 and high < 2
    low, high = frame([(0.0, 0.0, 0.0)], 0.0)
    assert low < 0 < high


def test_the_report_of_sixteen_arms_has_the_section_and_its_figure():
    arms = [*MANY[:15], 'pretrained']
    summary = json.loads(json.dumps(summary_of(many(arms, 3.0), retention('accuracy'))))
    drawn = [one for one in draw(summary) if one.name == 'learning_and_forgetting']
    page = report_html(summary, 'title', drawn=drawn)
    section = page[page.index('<h2>Learning and forgetting</h2>') :]
    section = section[: section.index('</section>')]
    assert section.count('<img') == 1 and page.count('<img') == 1
    assert section.count('<tr>') >= 17
    names = {f'<th scope="row">{arm}' in section for arm in arms}
    assert names == {True}
    assert f'| {arms[5]} ' in table_markdown(summary)


def test_every_task_has_its_own():
    rows = [{**row, 'task': task} for task in ('one', 'two') for row in rows_of()]
    summary = summary_of(rows, retention())
    text = table_markdown(summary)
    assert text.count('### Learning and forgetting') == 1 and '#### two' in text
    assert [one.name for one in draw(summary) if 'learning' in one.name] == [
        'learning_and_forgetting_one',
        'learning_and_forgetting_two',
    ]
