"""The report of a run: of every task, from memory and from its folder, whatever the data hold."""

import dataclasses
import json
import re
import types
from html.parser import HTMLParser

import numpy as np
import pytest
from report_cases import HOSTILE, TASKS, report, run

from ftjax import api
from ftjax.api import Finetuning
from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json
from ftjax.runs.prediction.loaded import Loaded
from ftjax.runs.report import contents
from ftjax.runs.report.answer import answer, metric_table
from ftjax.runs.report.cautions import cautions
from ftjax.runs.report.kept_examples import KeptExamples
from ftjax.runs.report.run_report import RunReport, report_at_end, write_report
from ftjax.runs.training_summary import training_summary
from ftjax.tasks import task_of
from ftjax.tasks.classes import class_errors
from ftjax.tasks.statistics import grouped

SECTIONS = ('What was trained', 'Data', 'Learning curves', 'Metrics', 'How to make it again')

UNITS = r'%|nats|units of the|share|probability|number of|a step'
WITHOUT = {
    *('epoch', 'examples', 'texts', 'from step'),  # counts of what they name
    *('true class', 'predicted class', 'stage, input at the top'),  # names
}


class Page(HTMLParser):
    """Tags that are closed in turn, what they show, and where pictures come from."""

    void = ('meta', 'img', 'br', 'link')

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text, self.sources = [], [], [], []
        self.handlers = []
        self.feed(page)
        assert self.open == []
        self.shown = ' '.join(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith('on')]
        self.sources += [value for name, value in attrs if name in ('src', 'href')]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != 'style':
            self.text.append(data)


@pytest.mark.parametrize('kind', TASKS)
def test_a_page_of_every_task_says_all_and_obeys_no_name(kind):
    made = report(kind, groups=True)
    page = made.html()
    found = Page(page)
    for title in (*SECTIONS, 'Worst mistakes', 'Parts of the test split'):
        assert title in found.shown, title
    assert answer(made) in found.shown
    assert not {'script', 'b', 'i', 'run', 'note'} & set(found.tags)
    assert not found.handlers
    assert all(source.startswith('data:image/') for source in found.sources)
    assert not set('\x1b\x07\r') & set(page)
    assert '<i>0</i>' in found.shown  # the values of data.slices, as text
    pictures = 'Pictures are shown' in found.shown
    assert pictures == (kind not in ('texts', 'pairs', 'masked'))
    assert len(found.sources) >= 5  # the network, three curves or four, and answers


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made and not drawn: that is most of the time of a page."""
    monkeypatch.setattr(contents, 'figure_bytes', lambda *_: b'<svg/>')


@pytest.mark.parametrize('kind', TASKS)
def test_every_figure_has_a_title_and_every_axis_a_label(kind, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        contents, 'figure_bytes', lambda figure, _: drawn.append(figure) or b'<svg/>'
    )
    report(kind).html()
    assert len(drawn) >= 5
    for figure in drawn:
        assert any(axes.get_title(loc=side) for axes in figure.axes for side in ('left', 'center'))
        for axes in figure.axes:
            shared = axes.get_shared_x_axes().joined(axes, figure.axes[-1]) and len(figure.axes) > 1
            assert axes.get_xlabel() or axes.get_ylabel(), axes
            below = axes is figure.axes[-1] or not shared
            colours = axes.get_label() == '<colorbar>'
            assert axes.get_xlabel() or colours or not below, axes.get_title()
            beside = axes.get_shared_y_axes().joined(axes, figure.axes[0])
            assert axes.get_ylabel() or (beside and axes is not figure.axes[0]), axes.get_title()
            label = f'{axes.get_xlabel()} {axes.get_ylabel()}'.lower()
            if re.search(r'\bloss\b|(squared|absolute) error', label):
                assert 'lower is better' in label or 'log scale' in label, label
            longest = max(map(len, axes.get_ylabel().split('\n')))
            assert longest <= 40, axes.get_ylabel()
            if axes.get_yscale() == 'log':  # 1.5, not 1.5 x 10^0
                ticks = axes.get_yticklabels() + axes.get_yticklabels(minor=True)
                assert not any('$' in tick.get_text() for tick in ticks)
            for each in filter(None, (axes.get_xlabel(), axes.get_ylabel())):
                assert re.search(UNITS, each) or each in WITHOUT, each


@pytest.mark.parametrize('kind', TASKS)
@pytest.mark.parametrize('test', [0, 1])
def test_none_or_one_test_example_is_no_fault(kind, test, undrawn):
    made = report(kind, test=test)
    Page(made.html())
    assert ('no test split' in answer(made)) == (test == 0)


@pytest.mark.slow
@pytest.mark.parametrize('kind', TASKS)
def test_figures_of_one_test_example_or_class_are_drawn(kind):
    Page(report(kind, test=1).html())
    prepared, fitted, result, found = run(kind)
    if 'label' in found.rows:
        found.rows['label'][:] = 0
    Page(RunReport.of(prepared, fitted, result, found).html())


@pytest.mark.parametrize('kind', ['two', 'multilabel'])
def test_a_test_split_of_one_class_is_no_fault(kind, undrawn):
    prepared, fitted, result, found = run(kind)
    if kind == 'multilabel':
        found.rows['true'][:] = found.rows['counts'][:] = 0
    else:
        found.rows['label'][:] = 0
    Page(RunReport.of(prepared, fitted, result, found).html())


@pytest.mark.parametrize('kind', TASKS)
def test_it_is_made_again_from_the_folder(kind, tmp_path, undrawn):
    prepared, fitted, result, found = run(kind, groups=True)
    made = RunReport.of(prepared, fitted, result, found, tmp_path.name)
    report_at_end(tmp_path, lambda: made)
    for name in ('config', 'plan', 'result'):
        write_json(tmp_path / f'{name}.json', getattr(made, name))
    lines = ''.join(json.dumps(row) + '\n' for row in made.history)
    (tmp_path / 'metrics.jsonl').write_text(lines)
    again = RunReport.read(tmp_path)
    assert answer(again) == answer(made) and cautions(again) == cautions(made)
    assert metric_table(again) == metric_table(made)
    assert again.kept.about['mistakes'] == made.kept.about['mistakes']
    for name, values in made.kept.columns.items():
        known = again.kept.columns[name]
        if values.dtype.kind in 'biuf':
            np.testing.assert_allclose(known, values, rtol=1e-6)
        else:
            assert known.tolist() == values.tolist()
    before = Page((tmp_path / 'report.html').read_text())
    assert Page(write_report(tmp_path).read_text()).tags == before.tags


def test_a_run_of_an_earlier_version_has_a_shorter_page(tmp_path, undrawn):
    made = report('images')
    for name in ('config', 'plan', 'result'):
        write_json(tmp_path / f'{name}.json', getattr(made, name))
    again = RunReport.read(tmp_path)
    assert again.kept is None
    shown = Page(again.html()).shown
    assert 'Metrics' in shown and 'Worst mistakes' not in shown


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'no config\.json'):
        RunReport.read(tmp_path)
    write_json(tmp_path / 'config.json', {})
    with pytest.raises(UserError, match='not finished'):
        RunReport.read(tmp_path)


def test_damaged_files_are_refused_by_name(tmp_path):
    report('images').kept.write(tmp_path)
    told = json.loads((tmp_path / 'report.json').read_text())
    write_json(tmp_path / 'report.json', {**told, 'mistakes': 'none'})
    with pytest.raises(UserError, match='mistakes'):
        KeptExamples.read(tmp_path)
    told['columns'][0]['levels'] = ['one']
    write_json(tmp_path / 'report.json', told)
    with pytest.raises(UserError, match='levels'):
        KeptExamples.read(tmp_path)


def test_a_picture_that_is_none_is_left_out(undrawn):
    made = report('images')
    made.kept.about['mistakes'][0]['picture'] = 'data:image/png;base64,AA" onerror="x'
    page = Page(made.html())
    assert not page.handlers and 'onerror' not in page.shown


def test_a_failed_report_costs_no_result(tmp_path, caplog):
    def broken():
        raise ValueError('no\nfigure')

    report_at_end(tmp_path, broken)
    assert 'its report is not: ValueError: no figure' in caplog.text
    assert list(tmp_path.iterdir()) == []


def told(made, word):
    return [said for said in cautions(made) if word in said]


def changed(made, **result):
    return RunReport(made.name, made.config, made.plan, {**made.result, **result}, made.history,
                     made.kept)  # fmt: skip


def test_cautions_come_where_they_are_due_and_only_there():
    plain = ('a', 'b', 'c', 'd')
    small, large = report('images', test=40, names=plain), report('images', test=1500, names=plain)
    assert told(small, 'examples are few') and not told(large, 'examples are few')
    accuracy = large.result['metrics']['accuracy']
    near = changed(large, validation={'accuracy': accuracy + 0.01})
    far = changed(large, validation={'accuracy': accuracy + 0.3})
    assert told(far, 'disagree') and not told(near, 'disagree')
    assert told(changed(large, stopped_early=True, steps=30), 'after 3 of 8 epochs')
    assert not told(changed(large, stopped_early=True, steps=30), 'longer run')
    assert told(large, 'longer run') and not told(changed(large, best_step=40), 'longer run')
    assert told(changed(large, steps_skipped=2), 'edge of what is stable')
    assert told(changed(large, frozen_unchanged=False, moved_frozen=['x/y']), 'x/y')
    made = {'git': {'commit': 'abc', 'dirty': True}}
    assert told(changed(large, provenance=made), 'not committed')
    assert told(large, 'a <note> of the data')


def test_how_many_examples_are_enough_is_told_of_what_is_resampled():
    made = report('images', names=('a', 'b', 'c', 'd'), test=400)

    def said(interval, **more):
        metrics = {**made.result['metrics'], 'accuracy': 0.8, 'accuracy_interval': interval}
        found = changed(made, metrics={**metrics, **more})
        return ' '.join(told(found, 'are few') + told(found, 'There is no interval'))

    # Half of it is 8 points: 16 times as many for 2.
    assert '400 test examples are few' in said([0.72, 0.88])
    assert 'About 6,400 examples give' in said([0.72, 0.88])
    grouped_by = said([0.72, 0.88], groups=10)
    assert '400 test examples of 10 groups are few' in grouped_by
    assert 'About 160 groups give' in grouped_by
    assert 'all test examples are of one group' in said(None, groups=1)
    assert said(None).startswith('There is no interval of accuracy')
    assert 'one test example says nothing' in said(None, n=1)


def test_of_many_classes_a_page_lists_the_worst_by_the_number_that_there_is(undrawn):
    made = report('images')
    rows = [
        {'name': f'class {i}', 'iou': i / 60, 'dice': 0.5, 'share': 0.1, 'support': 3}
        for i in reversed(range(60))
    ]
    metrics = {**made.result['metrics'], 'per_class': rows}
    shown = Page(changed(made, metrics=metrics).html()).shown
    assert 'The 50 of 60 classes with the lowest IoU.' in shown
    assert 'class 0 ' in shown and 'class 49 ' in shown and 'class 50 ' not in shown


def test_uneven_classes_are_told_of_and_even_ones_are_not():
    def with_majority(share):
        made = report('two', names=('a', 'b'), test=400)
        made.kept.about['baselines'][1]['metrics']['accuracy'] = share
        return told(made, 'uneven')

    assert with_majority(0.9) and not with_majority(0.5)


def test_a_network_that_knows_nothing_is_held_against_the_majority():
    prepared, fitted, result, found = run('two', names=('a', 'b'), test=50)
    majority = float((found.rows['label'] == 0).mean())

    def reported(value):
        metrics = {**result['metrics'], 'accuracy': value}
        metrics['accuracy_interval'] = [value - 0.1, value + 0.1]
        return RunReport.of(prepared, fitted, {**result, 'metrics': metrics}, found)

    assert told(reported(majority), 'not significantly better')
    below, above = reported(majority - 0.2), reported(majority + 0.2)
    assert told(below, 'interval is worse than') and not told(below, 'not significantly better')
    assert not told(above, 'interval is worse than') and not told(above, 'not significantly')


def test_the_answer_names_interval_number_and_baseline():
    said = answer(report('images', names=('a', 'b', 'c', 'd')))
    assert re.fullmatch(
        r'Test accuracy \d+\.\d % \[\d+\.\d, \d+\.\d\] on 60 images; .* has \d+\.\d %\.', said
    )
    assert 'lower is better' in answer(report('regression'))
    assert 'hidden tokens in 60 texts' in answer(report('masked'))


def test_copies_of_training_examples_are_counted(undrawn):
    prepared, fitted, result, found = run('images')
    pixels = prepared.data.test.inputs.copy()
    pixels[:7] = prepared.data.train.inputs[:7]
    object.__setattr__(prepared.data.test, 'inputs', pixels)
    vars(prepared.data).pop('_audit', None)  # what was looked at before
    made = RunReport.of(prepared, fitted, result, found)
    assert made.kept.about['leaks']['exact'] == 7
    shown = Page(made.html()).shown
    assert '7 of ' in shown and 'test examples are training examples too' in shown
    assert 'exact copy of a training example: yes' in shown


def test_phases_are_listed(undrawn):
    shown = Page(report('images', freeze='gradual').html()).shown
    assert 'From step 0' in shown and 'Phases' in shown


def test_what_an_adaptation_moved_is_told_beside_what_trained(undrawn):
    adapted = {'method': 'tent', 'moved': ['params/norm/scale']}
    shown = Page(changed(report('images'), adapted=adapted).html()).shown
    assert 'before the adaptation; after training, tent moved 1 leaf: params/norm/scale' in shown


def test_averaged_weights_are_of_no_step_and_adapted_ones_of_one_before(undrawn):
    averaged = changed(report('images'), averaged={'strategy': 'wise_ft:11', 'alpha': 0.5})
    shown = Page(averaged.html()).shown
    assert 'wise_ft:11 averaged them' in shown and 'Best validation at step' not in shown
    adapted = {'method': 'tent', 'moved': []}
    shown = Page(changed(report('images'), adapted=adapted).html()).shown
    assert 'those of the best one, adapted after the training' in shown


def test_the_curves_of_averaged_runs_are_those_of_the_first(tmp_path):
    made = report('images')
    for name in ('config', 'plan', 'result'):
        write_json(tmp_path / f'{name}.json', getattr(made, name))
    (tmp_path / 'run_0').mkdir()
    (tmp_path / 'run_0' / 'metrics.jsonl').write_text('{"step": 10}\n')
    assert RunReport.read(tmp_path).history == [{'step': 10}]
    found = Loaded(types.SimpleNamespace(run=tmp_path))
    assert found.history == [{'step': 10}]


def test_cautions_on_averaged_runs_say_that_they_are_of_the_first():
    made = changed(report('images'), averaged={'strategy': 'soup_uniform:2'})
    assert told(made, 'longer run')[0].startswith('The first run: the best validation')


def test_the_figure_of_averaged_weights_marks_no_step(monkeypatch):
    prepared, _, result, _ = run('images')
    fresh, drawn = Finetuning.__new__(Finetuning), []
    fresh.config, fresh.prepared, fresh.history = prepared.config, prepared, []
    monkeypatch.setattr(api, 'learning_figure', lambda *given: drawn.append(given[2]))
    for fresh.result in (result, {**result, 'averaged': {'strategy': 'wise_ft'}}):
        fresh.plot()
    assert drawn == [result['best_step'], None]


def test_a_notebook_shows_the_page_apart_from_its_own(undrawn):
    shown = report('images')._repr_html_()
    assert shown.startswith('<iframe') and '<script' not in shown
    assert HOSTILE[0] not in shown


def test_plans_and_runs_are_tables_in_a_notebook():
    prepared, _, result, _ = run('images', freeze='gradual')
    plan = Page(prepared.plan._repr_html_())
    assert plan.tags.count('tr') == 1 + len(prepared.plan.phases) > 2
    fresh = Finetuning.__new__(Finetuning)
    fresh.config, fresh.prepared, fresh.result = prepared.config, prepared, None
    assert 'not trained yet' in Page(fresh._repr_html_()).shown
    fresh.result = result
    shown = Page(fresh._repr_html_())
    assert 'accuracy' in shown.shown and 'script' not in shown.tags


def test_the_course_of_a_run_in_words():
    prepared, _, result, _ = run('images')
    assert training_summary(prepared, result) == (
        'weights of step 80 of 80, of the best validation accuracy: 0.9 (higher is better)'
    )
    early = {**result, 'stopped_early': True, 'steps': 30, 'best_step': 10}
    assert training_summary(prepared, early).splitlines() == [
        'stopped early after 3 of 8 epochs',
        'weights of step 10 of 30, of the best validation accuracy: 0.9 (higher is better)',
    ]
    before = {'validation': {'accuracy': 0.1}, 'adapted': {'validation_before': {'accuracy': 0.9}}}
    told = training_summary(prepared, {**result, **before})
    assert told == training_summary(prepared, result)
    assert training_summary(prepared, {'steps': 5}) == '5 steps, no validation'


def test_with_a_threshold_mistakes_figure_and_caption_are_of_its_answers():
    prepared, fitted, result, found = run('two')
    task = task_of(prepared.data.task)
    decided = task.decided(found, 0.9)
    metrics = task.measured(decided, prepared.data.class_names, 0.9)
    made = RunReport.of(prepared, fitted, {**result, 'metrics': metrics}, decided)
    shown = Page(made.html()).shown
    assert 'answers at 0.9, chosen before' in shown and 'answers at 0.5' not in shown
    names = prepared.data.class_names
    ids = [str(i) for i in range(len(decided))]
    for one in task.mistakes(decided, ids, names, 60):
        last = decided.rows['last'][one['position']]
        assert (one['predicted'] == names[1]) == (last >= 0.9)
        assert one['confidence'] == pytest.approx(last if last >= 0.9 else 1 - last)


def test_the_figure_of_a_threshold_of_0_is_at_0(monkeypatch):
    drawn = []
    monkeypatch.setattr(class_errors, 'threshold_figure', lambda *given: drawn.append(given[3]))
    task, (*_, found) = task_of('classification'), run('two')
    decided = task.decided(found, 0.0)
    task.pictures(decided, task.measured(decided, ('no', 'yes'), 0.0), ('no', 'yes'))
    assert drawn == [0.0]


def test_numbers_of_a_column_to_tell_scores_apart_by_are_cut(undrawn):
    prepared, fitted, result, found = run('two')
    test = prepared.data.test
    told = {str(i): str(k / 2) if k else '' for k, i in enumerate(test.ids)}
    data = dataclasses.replace(prepared.data, slices={'age': told})
    made = RunReport.of(dataclasses.replace(prepared, data=data), fitted, result, found)
    page = Page(made.html()).shown
    assert 'column age: 0.5 to ' in page and 'have neither' not in page
    by_group = grouped(found, np.arange(60) // 6)
    made = RunReport.of(dataclasses.replace(prepared, data=data), fitted, result, by_group)
    assert 'Intervals and p are of groups' in Page(made.html()).shown


def test_latency_is_tables_of_what_was_measured(undrawn):
    row = {'precision': 'float32', 'batch_size': 8, 'p50_ms': 1.5, 'p95_ms': 2.0, 'p99_ms': None}
    row |= {'examples_per_second': 4000.0, 'argument_bytes': 2**21, 'calls': 30, 'length': 16}
    change = {'largest_change': 0.01, 'largest_output': 3.0, 'examples': 9, 'of': 'random inputs'}
    found = {'rows': [row], 'change': {'<b>': change}, 'protocol': 'One <i>process'}
    found |= {'start': {'cold': {'seconds': 8.0}, 'warm': {'seconds': 3.0}}}
    page = Page(changed(report('two'), latency=found).html())
    for said in ('1.5 ms', '4 k', '2.0 MiB', '0.01 of 3', 'One <i>process', 'kept programs', '8 s'):
        assert said in page.shown, said
    assert not {'b', 'i'} & set(page.tags)
