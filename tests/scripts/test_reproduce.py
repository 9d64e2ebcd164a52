"""scripts/reproduce.sh: from a name to a config and a folder, or what names there are."""

import os
import pathlib
import subprocess

import jax
import pytest

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.baselines import baseline_of
from ftjax.ablation.cells.extra_test_sets import further_tests
from ftjax.ablation.grid.rows import read_rows
from ftjax.ablation.report.gate_verdicts import grid_verdicts
from ftjax.ablation.settings import read_ablation
from ftjax.ablation.summary.summary import summarise
from ftjax.config import merged, plain, read_config
from ftjax.freezing.plan.plan import make_plan
from ftjax.io.files.atomic import read_json
from ftjax.models.registry import build
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.locate.locate import data_folder
from ftjax.reproductions import soups


def reproduce(repository, *arguments):
    # `echo` for the interpreter: what would be run is printed instead.
    return subprocess.run(
        ['bash', repository / 'scripts' / 'reproduce.sh', *arguments],
        env={**os.environ, 'FTJAX_PYTHON': 'echo'},
        capture_output=True,
        text=True,
        cwd='/',
    )


@pytest.mark.parametrize('arguments', [[], ['T99'], ['../t4']])
def test_an_unknown_name_lists_those_there_are(repository, arguments):
    done = reproduce(repository, *arguments)
    assert done.returncode == 2 and done.stderr.startswith('error: no reproduction')
    there = {path.stem.upper() for path in (repository / 'configs/reproductions').glob('*.py')}
    assert set(done.stderr.partition('there are: ')[2].split()) == there


@pytest.mark.parametrize('name', ['T4', 't4'])
def test_a_name_runs_its_config_with_the_flags_that_follow(repository, name):
    done = reproduce(repository, name, '--config.seed=1')
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        'scripts/ablate.py --config=configs/reproductions/t4.py '
        '--workdir=runs/reproductions/t4 --config.seed=1'
    )


@pytest.mark.parametrize('name', ['t2', 't2_dissimilar'])
def test_networks_that_arms_start_from_are_trained_first_where_the_arms_look(repository, name):
    *lines, last = reproduce(repository, name).stdout.split('\n\n')[0].splitlines()
    settings = read_ablation(dict(configs(repository))[name]['ablation'])
    arms = [settings.changes(arm) for arm in settings.arms]
    assert last.startswith('scripts/ablate.py') and lines
    trained = {}
    for line in lines:
        script, config, source, folder = line.split()
        assert (script, config) == (
            'scripts/train.py',
            f'--config=configs/reproductions/{name}.py',
        )
        trained[folder.removeprefix('--workdir=')] = source
    assert {arm['init'] for arm in arms if 'init' in arm} == {*trained}
    for folder, source in trained.items():
        assert source == f'--config.data.source=cifar10:{folder.rpartition("/")[2]}'


def test_t6_opens_as_many_random_entries_as_norms_have(repository):
    values = dict(configs(repository))['t6']
    settings = read_ablation(values.pop('ablation'))
    compared = [arm for arm in settings.arms if arm.startswith('random')]
    for arm in compared:
        options = dict(settings.changes(arm)['model'])
        network = build(options.pop('name'), options)
        variables = random_variables(network, 0)
        norms = settings.changes(arm.replace('random', 'BN'))['freeze']
        plan = make_plan(norms, network, variables)
        assert {*plan.moving_stats} == {*network.stages} - {'pool', 'head'}
        head, whole = (
            sum(leaf.size for leaf in jax.tree.leaves(tree))
            for tree in (variables['params']['head'], variables['params'])
        )
        share = float(settings.changes(arm)['freeze']['strategy'].partition(':')[2])
        assert round(share * (whole - head)) == plan.size_trained - head
    assert compared


def configs(repository):
    for path in sorted((repository / 'configs' / 'reproductions').glob('*.py')):
        scope = {'__name__': path.stem}
        exec(compile(path.read_text(encoding='utf-8'), str(path), 'exec'), scope)
        yield pathlib.Path(path).stem, plain(scope['get_config']())


def test_every_config_names_arms_and_gates_that_can_be_read(repository):
    seen = []
    for name, values in configs(repository):
        if 'ablation' in values:
            settings = read_ablation(values.pop('ablation'))
            for arm in settings.tuned:
                read_config(merged(values, settings.changes(arm)))
            kinds = {type(baseline_of(settings, arm)) for arm in settings.arms}
            named = settings.gates or settings.group_gates or settings.forgetting_gates
            judged = named or soups.Soup in kinds
            assert judged and settings.notes, f'{name}: no gate, or no reduction stated'
            seen.append(name)
    assert {'t1', 't4', 't5_digits'} <= {*seen}


NAMES = ('t1', 't2', 't2_dissimilar', 't3', 't5', 't5_blurred', 't5_digits', 't6')


@pytest.mark.parametrize('name', NAMES)
def test_the_rows_that_are_committed_give_the_verdicts_that_are(repository, name):
    settings = read_ablation(dict(configs(repository))[name]['ablation'])
    folder = repository / 'results' / 'reproductions' / name
    rows = read_rows(folder / 'runs.jsonl')
    reference = settings.reference or next(iter(settings.arms))
    summary = summarise(
        rows,
        reference=reference,
        arms=list(settings.arms),
        seeds=settings.draws,
        margin=settings.margin,
        outside_prior=settings.outside_prior,
    )
    found, before = grid_verdicts(settings, summary, rows), read_json(folder / 'verdicts.json')
    for key in ('gate', 'kind', 'passed'):
        assert [one[key] for one in found] == [one[key] for one in before]
    for one, other in zip(found, before, strict=True):
        assert one['value'] == pytest.approx(other['value'], abs=1e-9)
        assert one['interval'] == pytest.approx(other['interval'], abs=1e-9)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(
    not (data_folder() / 'cifar10' / 'cifar10_test10k.npz').exists(),
    reason='needs the data folder (FTJAX_DATA)',
)
def test_t3_tests_shifted_copies_of_unseen_images_and_every_arm_has_a_new_head(repository):
    values = dict(configs(repository))['t3']
    settings = read_ablation(values.pop('ablation'))
    runner = CellRunner(values, settings)
    heads = []
    for arm in settings.arms:
        prepared = runner.prepared(arm, settings.grids[arm][0], 0)
        assert prepared.load_report['head'] == 'new'
        heads.append(jax.tree.leaves(prepared.variables['params']['head']))
    for head in heads:
        assert all((one == first).all() for one, first in zip(head, heads[0], strict=True))
    data = prepared.data
    assert [len(part) for part in (data.train, data.val, data.test)] == [1000, 1000, 2000]
    for test in further_tests(prepared, settings.also_evaluate):
        assert list(test.dataset.ids) == list(data.test.ids)
        assert not {*test.dataset.ids} & {*data.train.ids, *data.val.ids}
        assert (test.dataset.labels == data.test.labels).all()
        assert (test.dataset.inputs != data.test.inputs).mean() > 0.5
    trunk = {arm: runner.prepared(arm, settings.grids[arm][0], 0).plan for arm in settings.arms}
    moving = {arm: bool(plan.moving_stats) for arm, plan in trunk.items()}
    assert moving == {arm: arm.endswith('(norms train)') for arm in settings.arms}
    # The probe of LP-FT leaves statistics alone under both policies.
    assert not any(plan.at(0).moving_stats for arm, plan in trunk.items() if 'LP' in arm)
