"""What a comparison leaves in its folder says the same in every file."""

import json

from ftjax.ablation.report.results_folder import write_results
from ftjax.ablation.report.tables import write_summary
from ftjax.ablation.summary.summary import summarise
from ftjax.io.files.atomic import write_json

GATE = {'gate': 'head > full', 'passed': True, 'value': 0.1, 'interval': [0.0, 0.2], 'kind': 'gate'}


def rows_of():
    return [
        {
            'arm': arm,
            'rate': 1e-3,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': level + 0.01 * seed},
            'test': {'accuracy': level + 0.01 * seed},
        }
        for arm, level in {'full': 0.5, 'head': 0.6}.items()
        for seed in range(3)
    ]


def summary():
    return summarise(rows_of(), reference='full', question='Which?')


def test_notes_come_first_and_gates_are_in_every_file(tmp_path):
    found = summary()
    given = {'title': 'A title', 'setup': {'data': 'digits'}}
    table = write_results(tmp_path, found, notes=['Short runs.'], gates=[GATE], **given)
    written = json.loads((tmp_path / 'summary.json').read_text())
    assert written['caveats'] == ['Short runs.', *found['caveats']]
    assert written['gates'] == json.loads((tmp_path / 'verdicts.json').read_text()) == [GATE]
    assert (tmp_path / 'table.md').read_text() == table and 'head > full' in table
    page = (tmp_path / 'report.html').read_text()
    assert all(word in page for word in ('A title', 'Short runs.', 'head &gt; full', 'command'))
    assert list((tmp_path / 'figures').glob('*.png'))
    assert 'gates' not in found  # what was given is as it was


def test_files_of_an_earlier_state_are_removed(tmp_path):
    rows = [{**row, 'task': task} for row in rows_of() for task in ('one', 'two')]
    write_summary(tmp_path, summarise(rows, reference='full'))
    write_json(tmp_path / 'verdicts.json', [GATE])
    (tmp_path / 'figures').mkdir()
    for name in ('scores_by_arm_one', 'rate_curves_two', 'profiles', 'own_one'):
        (tmp_path / 'figures' / f'{name}.png').write_bytes(b'earlier')
    write_results(tmp_path, summary(), title='A title', setup={})
    assert not (tmp_path / 'verdicts.json').exists()
    kept = {path.stem for path in (tmp_path / 'figures').iterdir()}
    assert {'own_one', 'scores_by_arm'} < kept
    assert not kept & {'scores_by_arm_one', 'rate_curves_two', 'profiles'}


def test_without_gates_there_are_no_verdicts(tmp_path):
    write_results(tmp_path, summary(), title='A title', setup={})
    assert not (tmp_path / 'verdicts.json').exists()
    assert 'gates' not in json.loads((tmp_path / 'summary.json').read_text())
