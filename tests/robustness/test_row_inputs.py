"""Rows of an ablation are of one set of inputs, before a grid goes on and while it is going."""

import json

import pytest

from ftjax.ablation.cells.task_grids import run_grids
from ftjax.ablation.engines.engine import InProcess, row_of
from ftjax.ablation.grid.row_identity import RowIdentities, identity_notes
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError
from ftjax.io.identity.identity_changes import FILE
from ftjax.io.json.jsonl import read_jsonl

SETTINGS = AblationSettings(
    arms={'head': 'head', 'pixels': {'baseline': 'pixels'}},
    rates=(1e-2, 1e-1),
    seeds=(0, 1),
    max_extra=0,
)


class Cells:
    """Cells without networks, of inputs that can be replaced."""

    def __init__(self):
        self.data, self.weights, self.run = 'd', 'w', 0
        self.after = None
        self.read = []

    def identity(self, cell):
        _, rate, seed = cell
        self.read.append(cell)
        data = {name: f'{self.data}{name}{seed}' for name in ('train', 'val', 'test')}
        weights = {} if rate is None else {'weights': {'loaded': self.weights}}
        return {'data': {'kind': 'image', **data, 'all': self.data}, **weights, 'code': {}}

    def __call__(self, arm, rate, seed):
        if self.run == self.after:
            self.data, self.after = 'other', None
        self.run += 1
        score = {'accuracy': 0.5 + 0.1 * seed + (rate or 0)}
        identity = self.identity((arm, rate, seed))
        return {'status': 'ok', 'val': score, 'test': score, 'identity': identity}

    def grid(self, folder, settings=SETTINGS, allowed=()):
        held = RowIdentities(lambda cell: cell[2], self.identity, allowed)
        return run_grid(settings, self, folder, {}, progress=False, identities=held)


def drop(folder, count):
    """The folder as it was before its last rows."""
    lines = (folder / 'runs.jsonl').read_text().splitlines(keepends=True)
    (folder / 'runs.jsonl').write_text(''.join(lines[:-count]))


@pytest.mark.parametrize('missing', [0, 3])
@pytest.mark.parametrize(
    ('name', 'said'),
    [('data', 'all three splits differ'), ('weights', 'pretrained weights differ')],
)
def test_a_folder_of_other_inputs_is_refused(tmp_path, missing, name, said):
    cells = Cells()
    whole = cells.grid(tmp_path)
    if missing:
        drop(tmp_path, missing)
    assert len(cells.grid(tmp_path)) == len(whole)  # the same inputs: it goes on
    if missing:
        drop(tmp_path, missing)
    setattr(cells, name, 'x')
    kept, run = (tmp_path / 'runs.jsonl').read_bytes(), cells.run
    with pytest.raises(UserError, match=f'of arm .*, seed 0, .*{said}.*--allow_{name}_change'):
        cells.grid(tmp_path)
    assert (tmp_path / 'runs.jsonl').read_bytes() == kept and cells.run == run
    assert identity_notes(tmp_path) == []
    assert len(cells.grid(tmp_path, allowed=(name,))) == len(whole)
    (line, *_) = read_jsonl(tmp_path / FILE)
    assert line['before'] != line['after'] and name in line['changed']
    assert said.removesuffix(' differ') in identity_notes(tmp_path)[0]


def test_rows_tell_what_they_were_made_from_and_are_read_once_a_seed(tmp_path):
    cells = Cells()
    rows = cells.grid(tmp_path)
    assert all(row['identity']['data']['all'] == 'd' for row in rows)
    cells.read.clear()
    cells.grid(tmp_path)
    seeds = [seed for _, _, seed in cells.read]
    assert seeds == sorted(seeds) and len(seeds) == 4  # arms times seeds, not times rates


def test_inputs_that_change_while_a_grid_is_going_end_it(tmp_path):
    cells = Cells()
    cells.after = 1
    with pytest.raises(UserError, match=r'changed while the ablation was going: .* differ'):
        cells.grid(tmp_path)
    assert len(read_jsonl(tmp_path / 'runs.jsonl')) == 2  # what was made is kept
    with pytest.raises(UserError, match='holds rows of other inputs'):
        cells.grid(tmp_path)


def test_rows_of_cells_that_the_grid_does_not_name_are_left_alone(tmp_path):
    cells = Cells()
    cells.grid(tmp_path)
    path = tmp_path / 'runs.jsonl'
    other = {
        **cells('head', 1e-2, 7),
        'identity': {'data': {'train': 'x', 'val': 'y', 'test': 'z'}},
    }
    with path.open('a') as file:
        file.write(json.dumps(row_of(('head', 1e-2, 7), other)) + '\n')
    cells.grid(tmp_path)


@pytest.mark.parametrize('kind', ['image', 'image_file'])
def test_rows_of_an_earlier_version_are_held_against_their_fingerprint(tmp_path, kind):
    cells = Cells()
    rows = cells.grid(tmp_path)
    old = [{k: v for k, v in row.items() if k != 'identity'} for row in rows]
    path = tmp_path / 'runs.jsonl'
    path.write_text(''.join(json.dumps({**row, 'data_fingerprint': 'd'}) + '\n' for row in old))
    assert len(cells.grid(tmp_path)) == len(rows)
    told = cells.identity
    cells.data = 'x'
    cells.identity = lambda cell: {**told(cell), 'data': {**told(cell)['data'], 'kind': kind}}
    if kind == 'image_file':  # of files they held another hash: nothing can be said
        cells.grid(tmp_path)
    else:
        with pytest.raises(UserError, match='the data differ'):
            cells.grid(tmp_path)


def test_arms_may_have_code_of_their_own(tmp_path):
    cells = Cells()
    told = cells.identity
    cells.identity = lambda cell: {
        **told(cell),
        'code': {'python': '3', 'parts': {'strategy own': cell[0]}, 'files': {}},
    }
    rows = cells.grid(tmp_path)
    assert len(cells.grid(tmp_path)) == len(rows)


def test_a_baseline_of_a_real_grid_is_refused_under_other_data(tmp_path, monkeypatch):
    import numpy as np

    def write(seed):
        draw = np.random.default_rng(seed)
        np.savez(tmp_path / 'd.npz', x=draw.integers(0, 9, (60, 4, 4, 1)), y=np.arange(60) % 2)

    write(0)
    values = {'init': '', 'data': {'source': f'npz:{tmp_path}/d.npz'}}
    settings = AblationSettings(arms={'pixels': {'baseline': 'pixels'}}, rates=(1e-2,), seeds=(0,))

    def grid(allow=()):
        return run_grids(values, settings, tmp_path / 'grid', InProcess(), allow=allow)

    rows, notes, _ = grid()
    assert rows[0]['identity']['data']['train'] and not notes
    grid()
    write(1)
    with pytest.raises(UserError, match='holds rows of other inputs'):
        grid()
    assert any('not all made from the same inputs' in note for note in grid(('data',))[1])
