"""The report holds everything, needs no other file, and lets no text become markup."""

import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from ftjax.ablation.advice.advice_page import arms_table
from ftjax.ablation.report.arm_columns import promise
from ftjax.ablation.report.arm_lines import arm_lines
from ftjax.ablation.report.executive_answer import answer
from ftjax.ablation.report.figures_differences import differences_by_arm
from ftjax.ablation.report.html import report_html, write_report
from ftjax.ablation.report.sentences import overall_sentences, verdict_sentences
from ftjax.ablation.report.setup_facts import setup_of
from ftjax.ablation.report.tables import shift_table, table_markdown
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.config import plain, template
from ftjax.evaluation.metric import Metric


def rows(task=None, better=0.1):
    found = []
    for arm, level in {'full': 0.5, 'a<b': 0.5 + better, 'dead': None}.items():
        for seed in range(4):
            ok = level is not None
            score = {'accuracy': level + 0.01 * seed + 0.002 * (seed % 2)} if ok else {}
            row = {'arm': arm, 'rate': 1e-3, 'seed': seed, 'val': score, 'test': score}
            row['status'] = 'ok' if ok else 'diverged'
            if arm == 'a<b' and seed == 3:
                row['test'] = {'accuracy': score['accuracy'] + 0.008}
            found.append(row | ({'task': task} if task else {}))
    return found


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of turn."""

    void = ('meta', 'img', 'br', 'link')

    def __init__(self):
        super().__init__()
        self.open, self.text, self.sources = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ('src', 'href')]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_report_is_whole_and_self_contained(tmp_path):
    summary = summarise(rows(), reference='full', question='Is <b> better & safe?')
    gate = {'gate': 'a<b > full', 'passed': True, 'value': 0.1, 'interval': [0.0, 0.2]}
    write_report(
        tmp_path / 'report.html',
        summary,
        title='A "title"',
        setup={'data': {'source': 'digits'}, 'steps': 300},
        provenance={'git': {'commit': 'abc123', 'dirty': True}, 'seeds': [0, 1]},
        notes=['Reduced to 300 steps.'],
        gates=[gate, {**gate, 'passed': False}, {**gate, 'passed': None, 'kind': 'report'}],
    )
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    found = parsed(page)
    text = ' '.join(found.text)
    for part in (
        'Is <b> better & safe?',
        'a<b',
        'Reduced to 300 steps.',
        'abc123',
        'data source',
        '4 of 4 runs diverged',
        'dead: none of its 4 runs finished.',
    ):
        assert part in text, part
    assert re.findall(r'class="outcome">(\w+)', page) == ['passed', 'failed', 'reported']
    assert found.sources and all(source.startswith('data:image/svg') for source in found.sources)
    for source in found.sources:
        drawing = ElementTree.fromstring(unquote(source.removeprefix('data:image/svg+xml,')))
        assert drawing.tag.endswith('svg')
    assert 'http' not in re.sub(r'"data:image/svg\+xml,[^"]*"', '', page)


def test_sentences_say_what_the_numbers_say():
    summary = summarise(rows(), reference='full')
    best, other, dead = verdict_sentences(summary['tasks'][0], summary)
    assert best.startswith('The best mean is that of a<b, 61.8')
    assert other.startswith('a<b: better than full (+10.2 points [')
    assert dead == 'dead: none of its 4 runs finished.'
    even = summarise(rows(better=0.0), reference='full')
    sentence = verdict_sentences(even['tasks'][0], even)[1]
    assert 'equivalent to full within ±1.0 points (+0.2 points [' in sentence
    strict = summarise(rows(better=0.0), reference='full', margin=0.0)
    sentence = verdict_sentences(strict['tasks'][0], strict)[1]
    assert 'no significant difference from full (+0.2 points' in sentence
    assert 'more seeds would decide' in sentence
    assert overall_sentences(even) == []


def test_a_missing_interval_is_left_out():
    alone = [row | {'shifts': {'fog': row['test']}} for row in rows() if row['seed'] == 0]
    summary = summarise(alone, reference='full')
    task = summary['tasks'][0]
    best = verdict_sentences(task, summary)[0]
    assert 'a<b, 60.0, 10.0 points from the next, full.' in best
    assert shift_table(task, summary)[1][:2] == [['full', '50.0'], ['a<b', '60.0']]
    header, cells = arms_table(summary)
    assert cells[1][header.index('difference to full')] == '+10.0'
    notes = differences_by_arm(task, summary).axes[0].texts
    assert [one.get_text() for one in notes] == ['+10.0']


def test_several_tasks_have_a_common_verdict():
    table = rows(task='blur') + rows(task='noise', better=0.3)
    summary = summarise(table, reference='full')
    sentence = overall_sentences(summary)[0]
    assert sentence.startswith('a<b: better than full (+20.2 points [')
    assert 'over the 2 tasks' in sentence and 'P(better) >0.99' in sentence
    text = ' '.join(parsed(report_html(summary, 'two')).text)
    assert 'All tasks together' in text and 'noise' in text


@pytest.mark.parametrize('metric', ['mse', 'accuracy'])
def test_units_follow_the_metric(metric):
    table = [
        {**row, 'val': {metric: v}, 'test': {metric: v}, 'status': 'ok'}
        for row, v in zip(rows(), [1.0, 1.1, 1.2, 1.3, 2.0, 2.2, 2.1, 2.4] + [3.0] * 4, strict=True)
    ]
    summary = summarise(table, reference='full', metric=Metric(name=metric, higher_is_better=False))
    sentence = verdict_sentences(summary['tasks'][0], summary)[1]
    assert 'worse than full' in sentence
    assert ('points' in sentence) == (metric == 'accuracy')


def test_the_answer_counts_verdicts_and_comes_first():
    summary = summarise(rows(), reference='full')
    first, second = answer(summary)
    assert first == 'Of 1 arm compared with full: 1 better (a<b).'
    assert second.startswith('The highest mean is that of a<b: 61.8 [')
    page = ' '.join(parsed(report_html(summary, 'a title')).text)
    assert page.index(first) < page.index('P(better)')
    assert page.index('finished runs') < page.index('Mean over seeds') < page.index('Verdicts')


def test_one_seed_gives_no_verdict_and_the_answer_says_so():
    summary = summarise([row for row in rows() if row['seed'] == 0], reference='full')
    first, second = answer(summary)
    assert first == 'Of 1 arm compared with full: 1 without a verdict (a<b).'
    assert second.startswith('The highest mean is that of a<b: 60.0, test accuracy')
    header, table = arms_table(summary)
    assert [row[header.index('verdict')] for row in table][:2] == ['reference', 'no verdict']
    (legend,) = differences_by_arm(summary['tasks'][0], summary).legends
    assert [text.get_text() for text in legend.get_texts()] == ['no verdict']


def test_the_sentence_on_simulated_grids_stands_where_such_grids_were_simulated():
    summary = summarise(rows(), reference='full')
    assert promise(summary).startswith('Measured on ')
    assert promise({**summary, 'folds': 5}) == promise({**summary, 'races': {'': {}}}) == ''


def timed(shared=()):
    """Rows of arms as good as full, some of which shared a program."""
    found, alike = [], rows(better=0.0)
    for arm, time in {'full': 4.0, 'last:2': 2.0, 'head': 0.1}.items():
        for row in alike[:4] if arm == 'full' else alike[4:8]:
            more = {'arm': arm, 'step_seconds_median': time}
            found.append({**row, **more, **({'vectorised': 3} if arm in shared else {})})
    return found


def test_arms_that_shared_a_program_are_not_said_to_cost_less_or_to_be_worse():
    def said(shared):
        return answer(summarise(timed(shared), reference='full'))[-1]

    assert said(()).startswith('The cheapest arm that is at most 1.0 points worse is head; it')
    assert said(('head',)).startswith(
        'The cheapest arm of those that ran alone and are at most 1.0 points worse is last:2; it'
    )
    assert said(('head', 'last:2')) == (
        'At most 1.0 points worse than full: last:2, head. What a run alone would take was not '
        'measured: several runs shared a program.'
    )
    assert 'mean is that of' in said(('full',))  # its own time is a share: nothing to compare with


def test_tasks_that_no_arm_finished_all_of_are_not_averaged_over():
    table = rows('blur') + [
        {**row, 'status': 'diverged', 'val': {}, 'test': {}} for row in rows('noise')
    ]
    summary = summarise(table, reference='full')
    assert summary['overall'] == {'arms': []}
    first, second = answer(summary)
    assert first == 'Of 1 arm compared with full on blur: 1 better (a<b).'
    assert 'test accuracy (%) on blur, +10.2 points' in second
    assert (
        'on average over the 2 tasks'
        in answer(summarise(rows('a') + rows('b'), reference='full'))[0]
    )


def test_a_better_mean_on_the_edge_of_rates_is_named_beside_the_highest():
    table = []
    for row in rows():
        for rate, lost in (
            (1e-4, 0.02),
            (1e-3, 0.0),
            (1e-2, -0.01 if row['arm'] == 'a<b' else 0.02),
        ):
            known = {'accuracy': row['val']['accuracy'] - lost} if row['val'] else {}
            table.append({**row, 'rate': rate, 'val': known})
    summary = summarise(table, reference='full')
    apart = ' (apart from a<b: best rate on the edge of those tried)'
    assert answer(summary)[1].startswith(f'The highest mean is that of full{apart}: 51.6 [')
    table += [{**row, 'arm': 'third', 'val': row['val']} for row in table if row['arm'] == 'full']
    summary = summarise(table, reference='full')
    best = verdict_sentences(summary['tasks'][0], summary)[0]
    assert best.startswith(f'The best mean is that of full{apart}, 51.6 [')


def test_the_set_up_can_be_repeated_from_the_page():
    values = plain(template(init='glyphs', data={'source': 'digits', 'batch_size': 25}))
    values['optimizer'] |= {'name': 'adamw', 'weight_decay': 0.01}
    settings = AblationSettings(arms={'full': 'full'}, rates=(1e-3,), seeds=(0, 1))
    table = rows()
    for row in table:
        row['sizes'] = {'train': 1000, 'val': 20, 'test': 359}
        row['guessing'] = {'classes': 10, 'majority': 0.25}
        row['shifts'] = {'noisy': {'accuracy': 0.1, 'n': 77}}
    told = setup_of(values, settings, table)
    assert told['examples'] == 'train 1,000, val 20, test 359' and told['examples of noisy'] == '77'
    assert (
        told['accuracy of guessing'].startswith('10 %') and '25 %' in told['accuracy of guessing']
    )
    assert told['optimizer'] == 'adamw, betas (0.9, 0.999), epsilon 1e-08, weight decay 0.01'
    assert {'length', 'augmentation', 'weights kept', 'starting rates', 'seeds'} <= set(told)


def test_times_that_are_shares_are_marked():
    table = [{**row, 'wall_seconds': 2.0, 'vectorised': 3} for row in rows() if row['arm'] == 'a<b']
    table += [{**row, 'wall_seconds': 2.0} for row in rows() if row['arm'] == 'full']
    text = table_markdown(summarise(table, reference='full'))
    assert '2 s*' in text and '*: a share of one program' in text.replace('\\', '')


def headers(page):
    return [unescape(title) for title in re.findall(r'<th scope="col">(.*?)</th>', page)]


def told(page):
    found = re.findall(r'<tr><th scope="row">([^<]*)</th><td>([^<]*)</td>', page)
    return {unescape(title): unescape(meaning) for title, meaning in found}


@pytest.mark.parametrize('tasks', [(None,), ('blur', 'noise')])
@pytest.mark.parametrize('metric', ['accuracy', 'mse'])
def test_every_column_has_its_meaning_beside_it(tasks, metric):
    table = [row for task in tasks for row in rows(task)]
    costs = {
        'params_trainable': 3,
        'params_total': 9,
        'wall_seconds': 2.0,
        'step_seconds_median': 1,
    }
    table = [
        {**row, **costs, 'val': {metric: 0.1}, 'test': {metric: 0.1 + 0.01 * row['seed'] ** power}}
        for row in table
        for power in ({'full': 1.0, 'a<b': 0.9}.get(row['arm']),)
        if power
    ]
    measure = Metric(name=metric, higher_is_better=metric == 'accuracy')
    summary = summarise(table, reference='full', metric=measure)
    page = report_html(summary, 'title', drawn=())
    shown = set(headers(page))
    assert {'arm', 'finished runs', 'P(better)', 'verdict', 'duration of a run'} <= shown
    assert ('IQM' in ' '.join(shown)) == (len(tasks) > 1)
    meanings = told(page)
    assert not [title for title in shown if len(meanings.get(title, '')) < 10]
    assert page.index('What the columns say') < page.index('<h2>Verdicts</h2>')
    text = table_markdown(summary)
    first = next(line for line in text.splitlines() if line.startswith('| arm'))
    titles = [cell.strip() for cell in first.strip('|').split('|')]
    assert not [title for title in titles if f'- **{title}**: ' not in text]


def test_meanings_follow_the_settings():
    page = told(report_html(summarise(rows(), reference='full', margin=0.02), 't', drawn=()))
    assert '±2.0 points' in page['verdict']
    strict = report_html(summarise(rows(), reference='full', margin=0.0), 't', drawn=())
    assert 'Equivalent' not in told(strict)['verdict']
    assert 'time of a step' not in told(strict)  # no arm has one, and the table has no column
    summary = {**summarise(rows(), reference='full'), 'vectorised': ['full']}
    summary['tasks'][0]['arms'][0]['step_seconds'] = 1.0
    assert (
        'several runs ran together' in told(report_html(summary, 't', drawn=()))['time of a step']
    )


def test_the_set_up_says_what_each_arm_is():
    arms = {
        'full': {'freeze': 'full', 'rates': (1e-4, 1e-3)},
        'top': 'last:1+l2_sp',
        'scratch': {'init': 'random:glyphs', 'freeze': {'strategy': 'full', 'norm': 'train'}},
        'pixels': {'baseline': 'pixels'},
    }
    tasks = {'label_flip': {'data.examples_per_class': 2}}
    settings = AblationSettings(arms=arms, rates=(1e-3, 1e-2), tasks=tasks)
    found = arm_lines(settings)
    assert found['full'] == 'freeze full. Every leaf.'
    assert found['top'].startswith('freeze last:1+l2_sp. ') and found['top'].count('. ') >= 2
    assert found['scratch'].startswith('init random:glyphs, freeze (strategy full, norm train). E')
    assert found['pixels'].startswith('baseline pixels. A logistic regression on the raw pixels')
    setup = setup_of(plain(template(init='glyphs')), settings)
    assert setup['arm'] == found
    assert setup['starting rates'].startswith('full: 0.0001, 0.001; top, scratch: 0.001, 0.01; up')
    page = ' '.join(parsed(report_html(summarise(rows(), reference='full'), 't', setup)).text)
    assert 'arm scratch' in page and found['pixels'] in page
    # Names of a user and of the config keep their underscores.
    assert 'tasks label_flip data.examples_per_class' in page
