"""A student and its teacher in whole runs: once computed, laid out in any way, refused in time."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from tiny_teacher import config_of, data_of, fitted, images, losses, write_teacher

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.settings import AblationSettings
from ftjax.data import Splits
from ftjax.distributed.interrupted import Interrupted
from ftjax.distributed.preemption import stops_on_signals
from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.loss_columns import teacher_logits as module
from ftjax.runs.prepare import prepare
from ftjax.runs.run import check_finished, train
from ftjax.runs.run_spec import run_spec
from ftjax.training.feature_cache import compute, store
from ftjax.training.loop.step_runner import StepRunner

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp('teachers') / 'one')


@pytest.fixture(autouse=True)
def forgotten():
    store.forget()
    module._USED.clear()


def answers(teacher, pixels):
    """The teacher's logits, not by way of the stored ones."""
    found = load_pretrained(str(teacher))
    ready = pixels.astype(np.float32) / 255
    ready = (ready - np.array(found.preprocessing.mean)) / np.array(found.preprocessing.std)
    return np.asarray(found.network.apply(found.variables, ready.astype(np.float32)))


def test_batches_carry_the_teachers_answers_to_their_own_examples(teacher):
    data = data_of()
    stream = run_spec(prepare(config_of(teacher), data)).stream
    want = answers(teacher, data.train.inputs)
    assert np.abs(np.diff(want, axis=0)).max() > 0.5  # it tells examples apart
    for batch in (stream.batch(0), stream.batch(4), next(stream.iterate(2))):
        got = batch['columns']['teacher_logits']
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want[batch['index']], atol=1e-4)
    some = prepare(config_of(teacher), data).data.train.take([5, 40, 7]).take([2, 0])
    got = some.columns['teacher_logits'].rows(np.arange(2))
    np.testing.assert_allclose(got, want[[7, 5]], atol=1e-4)


def test_the_first_loss_is_the_closed_form_on_its_batch(teacher):
    config = config_of(f'{teacher},0.8,2', train={'steps': 1, 'eval_every': 1 / 3})
    prepared = prepare(config, data_of())
    spec = run_spec(prepared)
    batch = spec.stream.batch(0)
    ready = batch['inputs'].astype(np.float32) / 255
    ready = (ready - np.array(prepared.preprocessing.mean)) / np.array(prepared.preprocessing.std)
    z = np.asarray(prepared.network.apply(prepared.variables, ready.astype(np.float32)))
    v = answers(teacher, batch['inputs'])
    logs = [x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (v / 2, z / 2, z)]
    kl = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(1)
    each = 0.8 * 4 * kl - 0.2 * logs[2][np.arange(16), batch['labels']]
    (got,) = losses(config)
    assert got == pytest.approx(each.mean(), rel=1e-4)


def test_the_teacher_answers_once_for_all_runs_and_never_in_a_step(teacher, monkeypatch):
    computed = []
    plain = compute.compute

    def counted(network, variables, cut, loader, *rest):
        computed.append(cut)
        return plain(network, variables, cut, loader, *rest)

    monkeypatch.setattr(compute, 'compute', counted)
    short = {'steps': 3}
    first = losses(config_of(teacher, train=short))
    assert computed == [None]
    second = losses(config_of(f'{teacher},0.1', train=short))
    module._USED.clear()  # as in a new process: the files are there
    assert losses(config_of(teacher, train=short)) == first != second
    assert computed == [None]
    whole = data_of()
    half = whole.train.take(range(0, 48, 2))
    prepared = prepare(config_of(teacher), Splits(train=half, val=whole.val, test=whole.test))
    run_spec(prepared).stream.batch(0)
    assert computed == [None, None]  # of other examples they are others


@pytest.mark.slow
def test_damaged_answers_are_made_again(teacher, caplog):
    first = losses(config_of(teacher))
    module._USED.clear()
    (file,) = pathlib.Path(os.environ['FTJAX_CACHE']).rglob('*.npy')
    held = bytearray(file.read_bytes())
    held[-3] ^= 1
    file.write_bytes(held)
    assert losses(config_of(teacher)) == first
    assert 'is damaged' in caplog.text


@pytest.mark.slow
def test_without_a_place_for_files_they_are_kept_in_memory(teacher, tmp_path, monkeypatch, caplog):
    first = losses(config_of(teacher))
    module._USED.clear()
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'file'))
    assert losses(config_of(teacher)) == first
    assert 'kept in memory' in caplog.text and len(store.kept()) == 1


@pytest.mark.slow
def test_parts_stored_features_and_remat_change_nothing(teacher):
    plain = losses(config_of(teacher))
    for changes in ({'optimizer': {'accumulate': 4}}, {'train': {'remat': True}}):
        assert losses(config_of(teacher, **changes)) == pytest.approx(plain, rel=1e-5)
    head = [
        losses(config_of(teacher, freeze='head', train={'cache': cache})) for cache in ('off', 'on')
    ]
    assert head[0] == pytest.approx(head[1], rel=1e-5) and head[0] != plain


@pytest.mark.slow
def test_several_labels_learn_from_a_teacher_of_them(teacher):
    config = config_of(
        teacher, 'multilabel_distillation', data={'task': 'multilabel'}, train={'steps': 12}
    )
    found = losses(config, data_of('multilabel'))
    assert found[-1] < found[0]


def test_an_interrupted_student_goes_on_to_the_same_bits(teacher, tmp_path):
    """The teacher's other weights, or another teacher, are told before a step is made."""
    own = shutil.copytree(teacher, tmp_path / 'teacher')
    whole, _ = fitted(config_of(own), tmp_path / 'whole')
    part = tmp_path / 'part'
    prepared = prepare(config_of(own), data_of())
    stop_after(prepared, part, 3)
    module._USED.clear()
    again, result = fitted(config_of(own), part)
    for one, other in zip(
        jax.tree.leaves(whole.variables), jax.tree.leaves(again.variables), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert result['identity']['data']['columns'].keys() == {'teacher_logits'}
    part = tmp_path / 'other'
    stop_after(prepared, part, 3)
    write_teacher(own, seed=4)
    with pytest.raises(UserError, match="the column of the loss 'teacher_logits' differs"):
        fitted(config_of(own), part)


def test_a_finished_student_needs_its_teacher_no_more(teacher, tmp_path):
    own = shutil.copytree(teacher, tmp_path / 'teacher')
    config, folder = config_of(own, train={'steps': 1}), tmp_path / 'run'
    _, result = fitted(config, folder)
    write_teacher(own, seed=4)
    changed = prepare(config, data_of(), finished=True)  # a teacher that is there is compared
    with pytest.raises(UserError, match="the column of the loss 'teacher_logits' differs"):
        check_finished(folder, result, changed)
    shutil.rmtree(own)
    module._USED.clear()
    with pytest.raises(UserError, match=r'the teacher of train\.loss: no pretrained network'):
        prepare(config, data_of())
    again = prepare(config, data_of(), finished=True)
    check_finished(folder, result, again)
    assert 'train.loss cannot be made again (the teacher of' in again.first_screen()
    assert again.table() and not again.data.train.columns


def stop_after(prepared, folder, steps):
    """Trains some steps of a run, which a signal then stops."""
    plain = StepRunner.steps

    def stopping(self, *rest):
        loss = plain(self, *rest)
        if self.run_state.done >= steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepRunner, 'steps', stopping)
        with stops_on_signals(), pytest.raises(Interrupted):
            train(prepared, folder, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize('mesh', [{'data': 8}, {'data': 4, 'fsdp': 2}])
def test_eight_devices_have_the_losses_of_one(teacher, mesh):
    plain = losses(config_of(teacher, train={'eval_every': 1 / 3}))
    done = subprocess.run(
        [sys.executable, HERE / 'tiny_teacher.py', teacher, json.dumps(mesh)],
        env={
            **os.environ,
            'XLA_FLAGS': '--xla_force_host_platform_device_count=8',
            'PYTHONPATH': str(HERE.parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(plain, rel=1e-5)


def test_what_cannot_teach_is_refused_before_the_run(teacher, tmp_path):
    def refused(init, words, data=None, loss='distillation', **changes):
        with pytest.raises(UserError) as error:
            prepare(config_of(init, loss, **changes), data or data_of(), weights=False)
        assert words in str(error.value), str(error.value)

    refused(tmp_path / 'none', 'the teacher of train.loss: no pretrained network')
    with pytest.raises(UserError, match='needs a teacher: the folder of a finished run'):
        prepare(config_of('', train={'loss': 'distillation'}), data_of())
    refused(f'random:{teacher}', 'has random weights')
    refused(write_teacher(tmp_path / 'two', names=('a', 'b')), 'has 2 classes, and the data have 3')
    other = write_teacher(tmp_path / 'other', names=('a', 'c', 'b'))
    refused(other, "has the class 'c' as number 1, where the data have 'b'; did you mean 'b'")
    mixed = config_of(teacher, data={'augment': 'mixup:0.2'})
    with pytest.raises(UserError, match=r"data.augment 'mixup:0.2' mixes examples"):
        prepare(mixed, data_of(), weights=False)
    refused(teacher, 'is for classification, not for multilabel', data_of('multilabel'))
    unfinished = tmp_path / 'run'
    unfinished.mkdir()
    (unfinished / 'plan.json').write_text('{}')
    refused(unfinished, 'is a run that has not finished')
    refused('docstrings', 'takes texts, and the training examples are images')
    bad = write_teacher(tmp_path / 'bad', scale=1e20)
    with pytest.raises(UserError, match=r'answers .* with numbers that are not finite'):
        losses(config_of(bad))


def test_it_is_said_what_the_teacher_does_not_see_as_the_student_does(teacher, tmp_path):
    grey = Preprocessing(image_size=(8, 8), mean=(0.1,) * 3)
    other = write_teacher(tmp_path / 'other', preprocessing=grey)
    screen = prepare(config_of(other, data={'augment': 'flip'}), data_of()).first_screen()
    assert f'note: the teacher {other} (ViT, ' in screen
    assert "data.augment 'flip' changes what the student sees" in screen
    assert (
        'the teacher sees examples otherwise: mean (0.1, 0.1, 0.1), not (0.5, 0.5, 0.5)' in screen
    )
    plain = prepare(config_of(teacher), data_of()).first_screen()
    assert 'otherwise' not in plain and 'data.augment' not in plain
    assert 'teacher' not in prepare(config_of(''), data_of()).first_screen()


def test_pricing_a_run_asks_the_teacher_nothing(teacher):
    from ftjax.training.cost.cost import plan_cost

    prepared = prepare(config_of(teacher), data_of(), weights=False)
    spec = run_spec(prepared)
    assert spec.batch_shapes['columns']['teacher_logits'].shape == (16, 3)
    assert plan_cost(spec).flops > 0
    assert not list(pathlib.Path(os.environ['FTJAX_CACHE']).rglob('*.npy'))


def test_a_column_of_the_users_own(monkeypatch):
    from ftjax import registry
    from ftjax.tasks import loss
    from ftjax.tasks.losses import cross_entropy

    for kind in ('loss', 'column'):
        monkeypatch.setitem(registry.PARTS, kind, dict(registry.parts(kind)))

    @registry.register('column', 'weight_of_example')
    def weight_of_example(asked, factor=1.0):
        """Brighter images count more."""
        return factor * asked.train.inputs.mean(axis=(1, 2, 3))

    @loss('weighted', columns=('weight_of_example',))
    def weighted(outputs, batch, factor=1.0):
        """Cross-entropy times the weight of an example."""
        return batch['columns']['weight_of_example'] * cross_entropy(outputs, batch['labels'])

    config = config_of('', train={'loss': 'weighted:2'})
    batch = run_spec(prepare(config, data_of())).stream.batch(1)
    want = 2 * batch['inputs'].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(batch['columns']['weight_of_example'], want, rtol=1e-6)
    assert np.isfinite(losses(config_of('', train={'loss': 'weighted', 'steps': 3}))).all()

    @registry.register('column', 'short')
    def short(asked):
        """One number less than there are examples."""
        return np.zeros(len(asked.train) - 1)

    loss('asks', columns=('short',))(lambda outputs, batch: outputs[:, 0])
    loss('misspelt', columns=('shrt',))(lambda outputs, batch: outputs[:, 0])
    for name, words in (
        ('asks', 'expected finite numbers with a row for each of 48 training examples'),
        ('misspelt', "column of the loss misspelt: 'shrt'; did you mean 'short'"),
    ):
        with pytest.raises(UserError, match=words):
            prepare(config_of('', train={'loss': name}), data_of())


def test_examples_of_other_data_have_no_columns(teacher):
    from ftjax.data.joined import joined

    train_split = prepare(config_of(teacher), data_of()).data.train
    assert joined(train_split, images('more', 9)).columns == {}
    with pytest.raises(UserError, match=r"train\.adapt 'pseudo_labels' trains on by"):
        data = dataclasses.replace(data_of(), unlabelled=images('u', 9))
        prepare(config_of(teacher, train={'adapt': 'pseudo_labels'}), data)


@pytest.mark.slow
def test_a_finished_run_teaches_and_it_is_said_when_its_splits_were_others(tmp_path):
    run = tmp_path / 'run'
    fitted(config_of('', train={'steps': 1}), run)
    screen = prepare(config_of(run), data_of()).first_screen()
    assert f'the teacher {run}' in screen and 'other splits' not in screen
    data = dataclasses.replace(data_of(), test=images('another', 12))
    screen = prepare(config_of(run), data).first_screen()
    assert 'it may have learned from examples of the test split here' in screen
    (run / 'result.json').unlink()
    assert 'other splits' not in prepare(config_of(run), data).first_screen()


@pytest.mark.slow
def test_an_ablation_over_alpha_shares_programs_and_answers(teacher, tmp_path):
    arms = {
        f'alpha {alpha}': {'freeze': 'head', 'train.loss': f'distillation:{teacher},{alpha}'}
        for alpha in (0.0, 0.9)
    }
    settings = AblationSettings(arms=arms, rates=(1e-2, 1e-1), seeds=(0,), max_extra=0)
    values = config_of('').to_json()
    values['train']['keep'] = 'best'
    known = {}
    runner = CellRunner(values, settings, known)
    known[repr(runner.config_of('alpha 0.9', 1e-2, 0).data)] = data_of()
    assert runner.group('alpha 0.9') == 'alpha 0.9'  # its runs share a program
    together = {'together': runner.together, 'group': runner.group}
    rows = run_grid(settings, runner, tmp_path, {}, progress=False, **together)
    assert [row['vectorised'] for row in rows] == [2] * 4
    for row in rows:
        alone = runner(row['arm'], row['rate'], 0)
        for split in ('val', 'test'):
            for name in ('loss', 'accuracy', 'log_loss'):
                if name in alone[split]:
                    assert row[split][name] == pytest.approx(alone[split][name], rel=1e-4)
        assert row['identity']['data']['columns'] == alone['identity']['data']['columns']
    found = {(row['arm'], row['rate']): row['test']['log_loss'] for row in rows}
    assert found['alpha 0.0', 1e-1] != found['alpha 0.9', 1e-1]
