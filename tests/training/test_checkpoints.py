"""Checkpoints: exact, whole or not there, found out when damaged, kept when the disk is full."""

import collections
import errno
import logging
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from ftjax.errors import UserError
from ftjax.io.files.lock import run_lock
from ftjax.io.files.saved_step import restored as read
from ftjax.io.json.tree_json import array_hash, pack, unpack
from ftjax.io.process import side_by_side
from ftjax.training.checkpoints import step_folders, writer
from ftjax.training.checkpoints.checkpoints import Checkpoints
from ftjax.training.checkpoints.training_state import merge


def state(seed):
    rng = np.random.default_rng(seed)
    return {
        'params': {f'block_{i}': {'kernel': rng.normal(size=(20, 5)) + seed} for i in range(3)},
        'opt_state': {'mu': rng.normal(size=700).astype(np.float32)},
        'data': {'epoch': seed, 'best': -np.inf, 'order': [3, 1, 2]},
    }


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert type(a) is type(b)
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    'value',
    [
        np.int32(4),
        np.asarray(2.5),
        np.float64([np.pi, np.nan, -0.0]),
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
        np.arange(6, dtype='>f4').reshape(2, 3).T,
        np.ones(3, np.complex64) * 1j,
        np.ones(3, ml_dtypes.float8_e4m3fn),
        jnp.arange(3, dtype=jnp.bfloat16),
        np.array([2**63 + 1], np.uint64),
    ],
    ids=lambda value: f'{value.dtype}{value.shape}',
)
def test_any_array_comes_back_bit_for_bit(tmp_path, value):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {'item': {'x': value, 'other': np.ones(1)}})
        back = checkpoints.restore().items['item']['x']
    expected = np.asarray(value)
    expected = expected.astype(expected.dtype.newbyteorder('='))
    assert isinstance(back, np.ndarray)
    assert (back.dtype, back.shape) == (expected.dtype, expected.shape)
    assert back.tobytes() == expected.tobytes()


def test_keys_and_plain_values_come_back_as_saved(tmp_path):
    tree = {
        'block_00/attn/query/kernel': np.ones(2),
        'a.b c': {'': {}, 'ü/..': None},
        'list': [1, 2.5, 'text', True, [], float('nan')],
        'big': 2**70,
        'low': -np.inf,
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {'item': tree, 'empty': {}})
        restored = checkpoints.restore()
    assert repr(restored.items['item']['list']) == "[1, 2.5, 'text', True, [], nan]"
    assert restored.items['empty'] == {}
    for key in ('a.b c', 'big', 'low'):
        assert restored.items['item'][key] == tree[key]
    assert list(restored.items['item']) == sorted(tree)


@pytest.mark.parametrize('bad', [object(), np.array(['x']), {1: 2}, jax.random.key(0)])
def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path, bad):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(TypeError):
            checkpoints.save(1, {'item': {'x': bad}})
        assert checkpoints.steps == ()
    assert list(tmp_path.iterdir()) == []


def test_last_and_best_are_kept(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step, best in enumerate([0, 1, 1, 1, 1, 1]):
            checkpoints.save(step, {'data': {'step': step}}, best)
        assert checkpoints.steps == (1, 4, 5)
        assert [checkpoints.restore(step).step for step in (None, 1, 4)] == [5, 1, 4]
        assert checkpoints.restore(4).items == {'data': {'step': 4}}
        checkpoints.save(6, {}, best=6)
        checkpoints.save(7, {})
        assert checkpoints.steps == (6, 7)
    with Checkpoints(tmp_path) as checkpoints:  # a new process sees the same
        assert checkpoints.steps == (6, 7)


def test_saving_a_step_again_replaces_it(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(1))
        checkpoints.save(2, state(2))
        checkpoints.save(1, state(7))
        assert_same(checkpoints.restore(1).items, state(7))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['1', '2']


def test_the_saved_copy_is_independent_of_the_buffers(tmp_path):
    value = np.ones(4)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {'item': {'x': value}})
        value[:] = 2
        assert checkpoints.restore().items['item']['x'].tolist() == [1, 1, 1, 1]


def test_saving_goes_on_in_the_background(tmp_path, monkeypatch):
    may_go_on, value = threading.Event(), np.ones(4)

    def slowly(array):
        assert may_go_on.wait(60)
        return array_hash(array)

    with Checkpoints(tmp_path) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(writer, 'array_hash', slowly)
            checkpoints.save(1, {'item': {'x': value}})
            value[:] = 2
            assert not (tmp_path / '1').exists()
            may_go_on.set()
            assert checkpoints.steps == (1,)
        assert checkpoints.restore().items['item']['x'].tolist() == [1, 1, 1, 1]


def test_what_fails_in_the_background_is_raised_once_and_leaves_the_earlier(tmp_path, monkeypatch):
    def failing(array):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(1))
        checkpoints.wait()
        with monkeypatch.context() as patch:
            patch.setattr(writer, 'array_hash', failing)
            for step in (2, 1):
                with pytest.raises(UserError, match=rf'of step {step} .*disk is full.*untouched'):
                    checkpoints.save(step, state(step))
                    checkpoints.wait()
        assert checkpoints.steps == (1,)
        assert_same(checkpoints.restore().items, state(1))
        checkpoints.save(2, state(2))
        assert checkpoints.steps == (1, 2)


def damage(path, how, random_):
    data = bytearray(path.read_bytes())
    if how == 'deleted':
        path.unlink()
        return
    if how == 'truncated':
        data = data[: random_.randrange(len(data) or 1)]
    elif how == 'zeroed':
        data = bytearray(len(data))
    else:
        for _ in range(1 if how == 'one bit' else 10):
            if data:
                data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
    path.write_bytes(data)


@pytest.fixture(scope='module')
def two_checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two')
    with Checkpoints(folder) as checkpoints:
        for step in (5, 10):
            checkpoints.save(step, state(step))
    return folder


@pytest.mark.parametrize('how', ['deleted', 'truncated', 'zeroed', 'one bit', 'ten bits'])
def test_a_damaged_file_never_gives_wrong_values(two_checkpoints, tmp_path, caplog, how):
    random_ = random.Random(how)
    files = sorted(path for path in (two_checkpoints / '10').rglob('*') if path.is_file())
    found = 0
    for number, file in enumerate(files):
        folder = tmp_path / str(number)
        shutil.copytree(two_checkpoints, folder)
        damage(folder / file.relative_to(two_checkpoints), how, random_)
        caplog.clear()
        with Checkpoints(folder) as checkpoints:
            restored = checkpoints.restore()
            assert_same(restored.items, state(restored.step))
            if restored.step == 10:  # a file that nothing depends on
                assert not restored.problems
                continue
            found += 1
            assert f'{folder}/10 is damaged' in restored.problems[10]
            assert restored.problems[10] in caplog.text
            assert 'step 5 is used instead' in caplog.text
            # The run goes on, and can write the step again.
            assert (folder / 'damaged-10').is_dir()
            checkpoints.save(10, state(10))
            assert checkpoints.restore().step == 10
    assert found >= 3


def test_the_last_is_used_where_the_best_is_damaged(two_checkpoints, tmp_path):
    folder = tmp_path / 'copy'
    shutil.copytree(two_checkpoints, folder)
    (folder / '5' / 'manifest' / 'metadata').write_text('{')
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(10).problems == {}
        restored = checkpoints.restore(5)
        assert restored.step == 10 and 'manifest is none of ours' in restored.problems[5]
        assert checkpoints.steps == (10,)
    assert (folder / 'damaged-5').is_dir()


def test_a_flipped_bit_in_a_leaf_is_named_by_its_path(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state(3))
        checkpoints.wait()
        read = ocp.Checkpointer.restore

        def flipped(self, directory, **kwargs):
            found = read(self, directory, **kwargs)
            if directory.name == 'params':
                found['00001'].view(np.uint8)[0, 0] ^= 1
            return found

        monkeypatch.setattr(ocp.Checkpointer, 'restore', flipped)
        with pytest.raises(UserError, match=r'params/block_1/kernel is not what was saved'):
            checkpoints.restore()
        with pytest.raises(UserError, match=r'3 is damaged'):
            checkpoints.restore(3)


def test_reading_changes_nothing(two_checkpoints, tmp_path):
    folder = tmp_path / 'copy'
    shutil.copytree(two_checkpoints, folder)
    (folder / '10' / 'manifest' / 'metadata').write_text('{')
    (folder / '20.orbax-checkpoint-tmp').mkdir()
    before = sorted(folder.rglob('*'))
    restored = read(folder)
    assert (restored.step, list(restored.problems)) == (5, [10])
    assert sorted(folder.rglob('*')) == before


def test_half_written_folders_are_cleared_away_and_said(two_checkpoints, tmp_path, caplog):
    folder = tmp_path / 'copy'
    shutil.copytree(two_checkpoints, folder)
    shutil.copytree(folder / '10', folder / '15.orbax-checkpoint-tmp')
    os.replace(folder / '5', folder / 'replaced-5')  # killed between renaming and saving
    with caplog.at_level(logging.WARNING), Checkpoints(folder) as checkpoints:
        assert checkpoints.steps == (5, 10)
        assert_same(checkpoints.restore(5).items, state(5))
    assert '15.orbax-checkpoint-tmp' in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == ['10', '5']


def test_errors_name_what_is_there(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(UserError, match=f'no checkpoint in {tmp_path}'):
            checkpoints.restore()
        checkpoints.save(3, state(3))
        with pytest.raises(UserError, match=r'no checkpoint of step 4 .* there: 3'):
            checkpoints.restore(4)
    with pytest.raises(UserError, match=f'no checkpoint in {tmp_path}/absent; there: none'):
        read(tmp_path / 'absent')


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'cannot write checkpoints to .*: Not a directory'):
        Checkpoints(tmp_path / 'file' / 'checkpoints')


@pytest.mark.skipif(not pathlib.Path('/proc/self').exists(), reason='needs /proc')
def test_a_read_only_file_system():
    with pytest.raises(UserError, match='cannot write checkpoints to /proc/ftjax'):
        Checkpoints('/proc/ftjax')


def test_too_little_room_is_known_before_writing(two_checkpoints, tmp_path, monkeypatch):
    folder = tmp_path / 'copy'
    shutil.copytree(two_checkpoints, folder)
    usage = collections.namedtuple('usage', 'free')
    with Checkpoints(folder) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(step_folders.shutil, 'disk_usage', lambda _: usage(2**20 + 5000))
            with pytest.raises(UserError, match=r'disk is full .* earlier checkpoints are unt'):
                checkpoints.save(10, state(7))
        assert_same(checkpoints.restore().items, state(10))
    assert sorted(path.name for path in folder.iterdir()) == ['10', '5']


def python(code, *arguments):
    return [sys.executable, '-c', textwrap.dedent(code), *map(str, arguments)]


@pytest.mark.skipif(sys.platform == 'win32', reason='needs file size limits')
def test_a_disk_that_fills_up_while_writing(two_checkpoints, tmp_path):
    folder = tmp_path / 'copy'
    shutil.copytree(two_checkpoints, folder)
    code = """
        import resource, sys
        import numpy as np
        from ftjax.errors import UserError
        from ftjax.training.checkpoints.checkpoints import Checkpoints

        checkpoints = Checkpoints(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        noise = np.random.default_rng(0).normal(size=100_000)
        for step in (10, 15):
            try:
                checkpoints.save(step, {'a': {'x': noise}, 'b': {str(i): noise for i in range(9)}})
                checkpoints.wait()
            except UserError as error:
                print(error)
        print(checkpoints.restore().step, checkpoints.steps)
    """
    done = subprocess.run(python(code, folder), capture_output=True, text=True, timeout=100)
    lines = done.stdout.splitlines()
    assert done.stderr == ''
    assert ['disk is full; the earlier' in line for line in lines] == [True, True, False]
    assert lines[2] == '10 (5, 10)'
    assert sorted(path.name for path in folder.iterdir()) == ['10', '5']


SAVE_FOR_EVER = """
    import sys
    import numpy as np
    from ftjax.io.files.lock import run_lock
    from ftjax.training.checkpoints.checkpoints import Checkpoints

    lock = run_lock(sys.argv[1])
    lock.__enter__()
    checkpoints = Checkpoints(sys.argv[1])
    for step in range(int(sys.argv[2]), 10**6):
        tree = {str(i): np.full(2000, step, np.float32) for i in range(20)}
        checkpoints.save(step, {'params': tree, 'data': {'step': step}})
        print(step, flush=True)
"""


def kill_while_saving(folder, start, delay):
    """Kills a process at some moment of its third save or so; the last step it had saved."""
    with subprocess.Popen(python(SAVE_FOR_EVER, folder, start), stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        start = int(process.stdout.readline())  # the one before is written
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    return int(rest[-1]) if rest else start


def check_after_kill(folder, said):
    with run_lock(folder), Checkpoints(folder) as checkpoints:
        restored = checkpoints.restore()
    assert not restored.problems
    # It says so when a save has begun: the one before was waited for then.
    assert restored.step in (said - 1, said, said + 1)
    assert restored.items['data'] == {'step': restored.step}
    assert all(np.all(leaf == restored.step) for leaf in restored.items['params'].values())
    return restored.step


def test_kill_9_while_saving_loses_nothing(tmp_path):
    said = kill_while_saving(tmp_path, 1, delay=0.23)
    check_after_kill(tmp_path, said)


@pytest.mark.slow
def test_kill_9_at_many_moments(tmp_path):
    step, random_ = 0, random.Random(0)
    for _ in range(20):
        said = kill_while_saving(tmp_path, step + 1, delay=random_.uniform(0, 0.3))
        step = check_after_kill(tmp_path, said)


def test_a_small_state_is_saved_quickly(tmp_path):
    tree = {str(i): np.random.default_rng(i).normal(size=2600) for i in range(50)}  # 1 MB
    times = []
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(7):
            start = time.perf_counter()
            checkpoints.save(step, {'params': tree})
            times.append(time.perf_counter() - start)
    # About 0.04 s on an idle machine; the bound only catches a change of kind.
    assert min(times) < 0.5


def test_optimizer_state_goes_back_into_its_own_containers(tmp_path):
    params = {'norm': {'scale': jnp.ones(3)}, 'head': {'kernel': jnp.ones((3, 2))}}
    optimizer = optax.multi_transform(
        {'a': optax.adamw(1e-3), 'b': optax.chain(optax.clip(1.0), optax.sgd(0.1, momentum=0.9))},
        {'norm': 'a', 'head': 'b'},
    )
    grads = jax.tree.map(lambda x: 0.1 * x, params)
    _, opt_state = optimizer.update(grads, optimizer.init(params), params)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {'opt_state': opt_state})
        saved = checkpoints.restore().items['opt_state']
    back, changes = merge(saved, optimizer.init(params))
    assert changes.same
    assert jax.tree.structure(back) == jax.tree.structure(opt_state)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(opt_state), strict=True):
        assert np.array_equal(a, b)


def test_a_changed_plan_keeps_initialises_and_drops_by_path():
    ones = np.ones(3, np.float32)
    saved = {'mu': {'head': {'kernel': np.ones((3, 2))}, 'norm': {'scale': ones}}}
    expected = {
        'mu': {
            'head': {'kernel': np.zeros((3, 5))},
            'block_01': {'bias': np.zeros(2)},
            'norm': {'scale': np.zeros(3, np.float32)},
        }
    }
    merged, changes = merge(saved, expected)
    assert changes.kept == ('mu/norm/scale',)
    assert set(changes.initialised) == {'mu/head/kernel', 'mu/block_01/bias'}
    assert changes.initialised['mu/block_01/bias'] == 'not in the checkpoint'
    assert '(3, 2) in the checkpoint' in changes.initialised['mu/head/kernel']
    assert changes.dropped == ()
    assert merged['mu']['norm']['scale'].tolist() == [1, 1, 1]
    assert merged['mu']['head']['kernel'].shape == (3, 5)
    assert merge(expected, saved)[1].dropped == ('mu/block_01/bias',)
    assert '1 leaves kept, 2 initialised, 0 dropped' in changes.table()


def test_paths_that_collide_are_refused():
    with pytest.raises(ValueError, match="path 'a/b'"):
        merge({'a/b': 1, 'a': {'b': 2}}, {})


def test_large_states_are_copied_whole_by_several_threads(monkeypatch):
    monkeypatch.setattr(side_by_side, 'LEAST', 1)
    monkeypatch.setattr(side_by_side, 'own_cores', lambda: 3)
    draw = np.random.default_rng(0)
    tree = {
        'table': draw.normal(size=(1001, 7)).astype(np.float32),
        'scalar': np.float32(3),
        'many': [draw.normal(size=n + 1) for n in range(50)],
        'turned': np.asfortranarray(draw.normal(size=(40, 30))),
    }
    _, kept = pack(tree)
    other = jax.tree.map(lambda x: x + 1, tree)
    skeleton, again = pack(other, kept)
    assert all(again[name] is kept[name] for name in kept)  # written over
    for one, two in zip(
        jax.tree.leaves(unpack(skeleton, again)), jax.tree.leaves(other), strict=True
    ):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    'shapes', [[(30522, 384)], [(4096, 1024)], [(64, 64)] * 2, [(9, 9)] * 50, [(1, 10**6)], [()]]
)
@pytest.mark.parametrize('threads', [2, 4])
def test_threads_share_copies_evenly(shapes, threads):
    pairs = [(np.empty(shape, np.float32), np.empty(shape, np.float32)) for shape in shapes]
    size = sum(into.nbytes for into, _ in pairs)
    most = -(-size // (side_by_side.PARTS * threads))
    groups = [sum(into.nbytes for into, _ in group) for group in side_by_side.shares(pairs, most)]
    assert sum(groups) == size
    # No group is so large that one thread works while the others have nothing left.
    assert max(groups) <= max(most + 2**12, 4)


def test_a_folder_that_was_left_can_be_saved_to_again(tmp_path):
    state = {'params': {'w': np.ones(3, np.float32)}}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
    checkpoints.save(2, state)
    assert checkpoints.steps == (1, 2)
    checkpoints.__exit__(None, None, None)


def test_after_an_interrupt_the_next_save_waits_for_the_arrays_that_are_read(tmp_path, monkeypatch):
    """Its copies go to the same memory: the first checkpoint must hold the first values."""
    began, go_on = threading.Event(), threading.Event()
    checkpoints = Checkpoints(tmp_path)
    write = Checkpoints._write

    def slow(self, place, args):
        began.set()
        go_on.wait(30)
        write(self, place, args)

    monkeypatch.setattr(Checkpoints, '_write', slow)
    checkpoints.save(1, {'params': {'w': np.full(5, 1.0, np.float32)}})
    assert began.wait(30)

    def interrupted(timeout=None):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints._written, 'result', interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.wait()
    threading.Timer(0.5, go_on.set).start()
    checkpoints.save(2, {'params': {'w': np.full(5, 2.0, np.float32)}})
    for step, value in ((1, 1.0), (2, 2.0)):
        saved = checkpoints.restore(step)
        np.testing.assert_array_equal(saved.items['params']['w'], np.full(5, value))
    checkpoints.__exit__(None, None, None)
