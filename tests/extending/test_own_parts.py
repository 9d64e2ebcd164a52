"""What a config names can be the user's own: trained, evaluated, continued from and ablated."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from safetensors.numpy import save_file

from ftjax import registry
from ftjax.errors import UserError
from ftjax.io.identity import own_parts
from ftjax.io.identity.source_code import code_identity
from ftjax.training.loop.metrics_log import MetricsLog

HERE = pathlib.Path(__file__).resolve().parent
ALONE = sorted(file.name for file in HERE.glob('own_*.py'))
FEW = (
    *('--config.train.steps=2', '--config.data.examples_per_class=6'),
    *('--config.data.val_per_class=3', '--config.data.batch_size=6'),
    '--config.train.report=False',
)


@pytest.fixture(scope='module')
def call(repository, tmp_path_factory):
    """A script in a new process; its caches are those of one user."""
    home = tmp_path_factory.mktemp('cache')

    def run(script, *flags, **env):
        return subprocess.run(
            [sys.executable, f'scripts/{script}.py', *map(str, flags)],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, 'FTJAX_CACHE': str(home), **env},
        )

    return run


def worked(done):
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def parts(tmp_path_factory):
    """The files, in a folder of the user's."""
    return shutil.copytree(
        HERE, tmp_path_factory.mktemp('user') / 'parts', ignore=lambda *_: ['__pycache__']
    )


@pytest.fixture(scope='module')
def trained(call, parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs') / 'together'
    worked(call('train', f'--config={parts}/together.py', f'--workdir={folder}'))
    return folder


def test_a_run_of_own_parts_is_evaluated_in_another_process(call, parts, trained):
    result = json.loads((trained / 'result.json').read_text())
    assert result['steps'] == 2 and result['frozen_unchanged']
    assert result['validation'].keys() >= {'loss', 'lowest_margin', 'score'}
    assert result['metrics']['task'] == 'margins' and 'lowest_margin' in result['metrics']
    assert (trained / 'mine.txt').read_text().startswith('2 epoch ')
    worked(call('evaluate', f'--workdir={trained}'))
    assert json.loads((trained / 'evaluation_test.json').read_text()) == result['metrics']
    held = json.loads((trained / 'parts.json').read_text())['files']
    assert {part for entry in held for part in entry['parts']} == {
        *('adapter gain', 'augmentation dim', 'family dense_pair', 'logger lines'),
        *('model dense_pair', 'optimizer signs', 'schedule stairs', 'source stripes'),
        *('strategy ends', 'strategy gained'),
        *('task margins', 'loss tempered', 'metric lowest_margin'),
    }


@pytest.fixture
def changed(parts):
    """One of the files is not what the run was made with."""
    optimizer = parts / 'own_optimizer.py'
    text = optimizer.read_text()
    optimizer.write_text(text + '# changed\n')
    yield
    optimizer.write_text(text)


@pytest.mark.usefixtures('changed')
def test_what_has_changed_is_named(call, trained):
    refused = call('evaluate', f'--workdir={trained}')
    assert refused.returncode == 2 and 'Traceback' not in refused.stderr
    for word in ('own_optimizer.py', 'optimizer signs', 'has changed since', '--config=FILE.py'):
        assert word in refused.stderr


@pytest.fixture
def elsewhere(parts, tmp_path):
    """A copy of the files in another folder, with another loss."""
    folder = shutil.copytree(parts, tmp_path / 'other_loss')
    loss = folder / 'own_loss.py'
    loss.write_text(loss.read_text().replace('outputs / temperature', 'outputs * temperature'))
    return folder


def test_a_changed_part_is_refused_wherever_it_counts(call, trained, elsewhere):
    """A run or an evaluation would be of two programs."""
    config = f'--config={elsewhere}/together.py'
    for script in ('train', 'evaluate'):
        refused = call(script, config, f'--workdir={trained}')
        assert refused.returncode == 2 and 'Traceback' not in refused.stderr
        assert 'loss tempered' in refused.stderr, refused.stderr


def test_the_hash_of_a_part_does_not_hang_on_how_its_file_was_run(monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'strategy', dict(registry.parts('strategy')))
    monkeypatch.setitem(registry.PARTS, 'adapter', dict(registry.parts('adapter')))
    file, found = HERE / 'own_adapter.py', []
    spec = importlib.util.spec_from_file_location('some.module', file)
    for run in (
        lambda: own_parts.run_file(file),
        lambda: spec.loader.exec_module(importlib.util.module_from_spec(spec)),
    ):
        run()
        part = registry.parts('strategy')['gained']
        found.append(code_identity({'gained': part.function})['parts'])
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.usefixtures('changed')
def test_another_file_can_be_named(call, parts, trained, tmp_path):
    shutil.copytree(parts, tmp_path / 'elsewhere')
    named = f'--config={tmp_path}/elsewhere/together.py'
    worked(call('evaluate', f'--workdir={trained}', named, '--allow_code_change'))


@pytest.mark.slow
def test_a_run_begins_with_a_network_of_ones_own(call, parts, trained, tmp_path):
    """`init=RUN` under a config that knows nothing of the parts, which then come from the run."""
    flags = ('--config=configs/quickstart_train.py', '--config.data.source=digits', *FEW)
    start = (f'--config.init={trained}', '--config.data.augment=none', '--config.freeze=head')
    worked(call('train', *flags, *start, f'--workdir={tmp_path / "next"}'))


@pytest.mark.slow
def test_own_parts_are_ablated_by_workers(call, parts, tmp_path):
    worked(
        call(
            'ablate',
            *(f'--config={parts}/together.py:ablate', f'--workdir={tmp_path / "grid"}'),
            *('--engine=processes', '--workers=2'),
        )
    )
    rows = [json.loads(line) for line in (tmp_path / 'grid' / 'runs.jsonl').open()]
    assert len(rows) == 6 and {row['status'] for row in rows} == {'ok'}


@pytest.mark.slow
@pytest.mark.parametrize('name', ALONE)
def test_each_part_trains_and_is_evaluated_alone(call, parts, tmp_path, name):
    model = () if name == 'own_model.py' else ('--config.data.source=digits',)
    worked(call('train', f'--config={parts / name}', *FEW, *model, f'--workdir={tmp_path / "run"}'))
    worked(call('evaluate', f'--workdir={tmp_path / "run"}'))


@pytest.mark.slow
def test_files_of_others_are_read_by_an_own_key_map(call, parts, tmp_path):
    draw = np.random.default_rng(0)
    shapes = {'0': (16, 64), '2': (16, 16), '4': (3, 16)}
    tensors = {f'{n}.weight': draw.normal(size=s).astype('f') for n, s in shapes.items()}
    tensors |= {f'{n}.bias': np.zeros(s[0], 'f') for n, s in shapes.items()}
    (tmp_path / 'net').mkdir()
    save_file(tensors, tmp_path / 'net' / 'model.safetensors')
    (tmp_path / 'net' / 'config.json').write_text('{"model_type": "dense_pair", "width": 16}')
    given = (f'--config={parts / "own_model.py"}', f'--config.init={tmp_path / "net"}')
    worked(call('train', *given, '--config.data.source=digits', *FEW, f'--workdir={tmp_path}/run'))
    report = json.loads((tmp_path / 'run' / 'load_report.json').read_text())
    assert report['family'] == 'dense_pair'


def own_file(folder, body='pass\n'):
    file = folder / 'own.py'
    file.write_text('from ftjax.registry import register\n' + body)
    return file


PART = "register('schedule', '{}')(lambda settings, done, step, total: 1.0)\n"


def test_no_code_runs_that_the_user_did_not_run_before(tmp_path, monkeypatch):
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setitem(registry.PARTS, 'schedule', dict(registry.parts('schedule')))
    monkeypatch.setattr(registry, 'FILES', {})
    run = tmp_path / 'run'
    run.mkdir()
    own_parts.run_file(own_file(tmp_path, PART.format('mine')))
    own_parts.remember(run, {'schedule': {'name': 'mine'}})
    del registry.PARTS['schedule']['mine']
    own_parts.restore(run)
    assert 'mine' in registry.PARTS['schedule']
    del registry.PARTS['schedule']['mine']
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'of_another_user'))
    with pytest.raises(UserError, match=r'no run of yours was made with.*--config=FILE\.py'):
        own_parts.restore(run)
    own_parts.restore(run, [str(tmp_path / 'own.py')])
    del registry.PARTS['schedule']['mine']
    inside = json.loads((run / 'parts.json').read_text())
    shutil.copy(tmp_path / 'own.py', run / 'own.py')
    inside['files'][0]['path'] = str(run / 'own.py')
    (run / 'parts.json').write_text(json.dumps(inside))
    with pytest.raises(UserError, match='lies in the folder itself'):
        own_parts.restore(run)
    assert 'mine' not in registry.PARTS['schedule']


def test_two_files_cannot_have_one_name(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'schedule', dict(registry.parts('schedule')))
    file = own_file(tmp_path, PART.format('twice'))
    own_parts.run_file(file)
    own_parts.run_file(file)  # once more is no second one
    (tmp_path / 'other').mkdir()
    with pytest.raises(UserError, match=r"schedule 'twice' is registered twice, in .*own\.py"):
        own_parts.run_file(own_file(tmp_path / 'other', PART.format('twice')))
    with pytest.raises(UserError, match="'cosine' is registered twice"):
        own_parts.run_file(own_file(tmp_path, PART.format('cosine')))


def test_a_part_with_a_place_is_registered_there_and_has_no_other_file(tmp_path):
    for kind in registry.KINDS:
        places = registry.places_of(kind)
        for name, module in places.items():
            assert registry.find(kind, name).name == name
            assert registry.find(kind, name).target.__module__ == module
        shipped = [n for n, p in registry.parts(kind).items() if p.file.startswith(registry._OURS)]
        assert not places or shipped == list(places)  # none is without, in one order
    files = pathlib.Path(registry.__file__).parent.joinpath('tasks').glob('*.py')
    written = {path.stem for path in files if re.search(r'^@task\(', path.read_text(), re.M)}
    assert written == set(registry.places_of('task'))
    alone = (
        'import sys; from ftjax.tasks import task_of; task_of(); '
        "assert 'ftjax.tasks.segmentation' not in sys.modules; import ftjax.registry as r\n"
        "try: r.register('task', 'segmentation')(dict)\n"
        "except Exception as error: assert 'registered twice' in str(error), error\n"
        "else: raise SystemExit('a second segmentation was taken')"
    )
    subprocess.run([sys.executable, '-c', alone], check=True, cwd=tmp_path)


def test_options_of_a_strategy_are_checked():
    from ftjax.freezing.registry import strategy

    with pytest.raises(UserError, match="option of strategy 'x': 'nrom'; did you mean 'norm'"):
        strategy('x', 'mask', options={'nrom': 'frozen'})


@pytest.mark.parametrize('service', ['wandb', 'mlflow', 'comet'])
def test_services_get_the_numbers_and_a_continued_run_goes_on(service, tmp_path, monkeypatch):
    module = 'comet_ml' if service == 'comet' else service
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"pip install 'ftjax\[{service}\]'"):
        MetricsLog(tmp_path, loggers=[service])
    calls = []
    monkeypatch.setitem(sys.modules, module, fake(calls))
    for resume in (None, 1):
        with MetricsLog(tmp_path, resume_step=resume, loggers=[f'{service}:lab']) as log:
            log.write(2, {'train/loss': 0.5, 'note': 'text'})
    names = [name for name, _, _ in calls]
    logged = [(args, more) for name, args, more in calls if name in ('log', 'log_metrics')]
    assert logged == [(({'train/loss': 0.5},), {'step': 2})] * 2
    starts = [c for c in calls if c[0] in ('init', 'start_run', 'Experiment', 'ExistingExperiment')]
    known = {'wandb': 'id', 'mlflow': 'run_id', 'comet': 'previous_experiment'}[service]
    assert starts[1][2][known] == (tmp_path / f'{service}_run.txt').read_text()
    if service == 'wandb':
        assert starts[0][2]['id'] == starts[1][2]['id'] and starts[0][2]['project'] == 'lab'
    assert names[-1] in ('finish', 'end_run', 'end')


def fake(calls):
    """A module that records what is called of it, and of what that gives."""

    class Recorder(types.SimpleNamespace):
        def __getattr__(self, name):
            if name == 'info':
                return types.SimpleNamespace(run_id='r1')

            def call(*args, **more):
                calls.append((name, args, more))
                return 'k1' if name == 'get_key' else self

            return call

    return Recorder()


@pytest.mark.slow
def test_the_file_of_the_page_runs_as_it_stands(call, repository, tmp_path):
    page = (repository / 'configs' / 'OWN_PARTS.md').read_text()
    (tmp_path / 'mine.py').write_text(page.split('```python\n')[1].split('```')[0])
    run = tmp_path / 'run'
    said = worked(call('train', f'--config={tmp_path / "mine.py"}', f'--workdir={run}', *FEW))
    assert 'of the best validation worst class' in said
    assert 'worst_class 0' in worked(call('evaluate', f'--workdir={run}'))
