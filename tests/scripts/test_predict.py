"""Answers on new inputs: equal to an evaluation's, and nothing that is broken ends them."""

import csv
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ftjax.config import read_config
from ftjax.data import eval_batches, load_data
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import gather
from ftjax.io.files.row_files import row_file
from ftjax.runs.prediction.answer_options import answer_options
from ftjax.runs.prediction.new_inputs import outputs_of_source
from ftjax.runs.prediction.prediction_files import (
    check_not_input,
    write_features,
    write_predictions,
)
from ftjax.runs.prediction.trained import open_trained
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.tasks.answers import AnswerOptions

SHORT = {'train': {'steps': 2}, 'freeze': 'head'}


def run_in(folder, init, data):
    """A run of two steps in a folder, prepared from its config."""
    prepared = prepare(read_config({'init': init, 'data': data, **SHORT}))
    train(prepared, folder, progress=False)
    return prepared


def evaluated(folder, split='test'):
    """Outputs as an evaluation has them: from the config and the weights of a run's folder."""
    config = read_config(json.loads((folder / 'config.json').read_text()))
    trained, data = open_trained(str(folder)), getattr(load_data(config.data), split)
    batches = eval_batches(
        data, config.data.eval_batch_size, config.data.image_size, trained.preprocessing
    )
    pairs = predict(trained.network, trained.variables, batches, trained.preprocessing)
    return gather(pairs).outputs, data


def all_of(trained, source, **how):
    """Ids, outputs and failures."""
    failed = []
    parts = list(outputs_of_source(trained, str(source), failed.append, **how))
    ids = [name for part in parts for name in part.ids]
    return ids, np.concatenate([part.values for part in parts]), failed


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Two classes of PNGs of several sizes and modes, in a train and a test folder."""
    draw, root = np.random.default_rng(0), tmp_path_factory.mktemp('pictures')
    for split, count in (('train', 8), ('test', 7)):
        for number, name in enumerate(('ants', 'bees')):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                side = (20, 26 + index, 3) if index % 2 else (24 + index, 21)
                pixels = draw.integers(0, 120, side) + 100 * number
                image, name = Image.fromarray(pixels.astype(np.uint8)), f'{index}.png'
                if index == 4:  # 12 bits; those of the test split are dark
                    deep = pixels.astype(np.uint16) * (18 if split == 'train' else 4)
                    image = Image.fromarray(deep)
                elif index == 5:
                    name = '5.jpg'
                image.save(folder / name)
    return root


@pytest.fixture(scope='module')
def run(pictures, tmp_path_factory):
    """A run on the pictures, with batches that do not divide the test split."""
    folder = tmp_path_factory.mktemp('runs') / 'run'
    data = {'source': f'folder:{pictures}', 'val_fraction': 0.25, 'batch_size': 4}
    run_in(folder, 'glyphs', {**data, 'eval_batch_size': 4})
    return folder


def test_predictions_of_the_test_split_are_an_evaluations_bit_for_bit(run, pictures, tmp_path):
    outputs, data = evaluated(run)
    trained = open_trained(str(run))
    ids, found, failed = all_of(trained, pictures / 'test')
    assert not failed and [f'test/{name}' for name in ids] == [*data.ids]
    assert found.tobytes() == outputs.tobytes()
    dark = dataclasses.replace(trained, whites=None)  # what is white is the training data's
    assert all_of(dark, pictures / 'test')[1].tobytes() != outputs.tobytes()
    for other in (run / 'model', run / 'checkpoints'):
        again = open_trained(str(other))
        assert again.class_names == ('ants', 'bees') and again.settings == trained.settings
        assert all_of(again, pictures / 'test')[1].tobytes() == outputs.tobytes()
    # A table of the same images, and the arrays that they decode to.
    table = pictures / 'test.csv'
    table.write_text('image,note\n' + ''.join(f'test/{name},x\n' for name in ids))
    ids, found, _ = all_of(trained, table)
    assert found.tobytes() == outputs.tobytes() and ids[0] == 'test.csv:2'
    done = write_predictions(
        trained, str(table), tmp_path / 'p.csv', AnswerOptions(top_k=2), progress=False
    )
    assert (done.rows, done.failed) == (14, 0) and not (tmp_path / 'p_errors.csv').exists()
    rows = list(csv.DictReader((tmp_path / 'p.csv').open(newline='')))
    chances = np.array([[float(row[f'p:{name}']) for name in ('ants', 'bees')] for row in rows])
    wide = outputs.astype(np.float64)
    expected = np.exp(wide) / np.exp(wide).sum(axis=1, keepdims=True)
    assert chances == pytest.approx(expected, abs=1e-12)
    assert [row['predicted'] for row in rows] == [('ants', 'bees')[i] for i in wide.argmax(axis=1)]
    assert all(row['predicted'] == row['top1'] and row['top1'] != row['top2'] for row in rows)


def test_three_broken_files_of_a_hundred_are_named_and_the_rest_is_answered(
    run, repository, tmp_path
):
    folder = tmp_path / 'photos'
    folder.mkdir()
    draw = np.random.default_rng(1)
    for index in range(100):
        Image.fromarray(draw.integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(
            folder / f'{index:03d}.png'
        )
    whole = (folder / '007.png').read_bytes()
    (folder / '007.png').write_bytes(whole[: len(whole) // 2])
    (folder / '050.png').write_bytes(b'')
    (folder / '099.png').write_text('<html>')
    output = tmp_path / 'out' / 'predictions.csv'

    def call(*flags):
        return subprocess.run(
            [sys.executable, 'scripts/predict.py', f'--workdir={run}', *map(str, flags)],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
        )

    done = call(f'--input={folder}', f'--output={output}')
    assert done.returncode == 0, done.stderr
    assert '97 rows' in done.stdout and '3 inputs left out' in done.stdout
    assert all(f'{name}.png' in done.stdout for name in ('007', '050', '099'))
    rows = list(csv.DictReader(output.open(newline='')))
    assert len(rows) == 97 and '007.png' not in {row['id'] for row in rows}
    named = list(csv.DictReader(output.with_name('predictions_errors.csv').open(newline='')))
    assert [row['id'] for row in named] == ['007.png', '050.png', '099.png']
    strict = call(f'--input={folder}', f'--output={output}', '--strict')
    assert strict.returncode == 1 and 'Traceback' not in strict.stderr


@pytest.mark.slow
def test_texts_and_pairs_are_an_evaluations_bit_for_bit(tmp_path):
    words = ('the', 'a', 'value', 'values', 'returned', 'list', 'string', 'number', 'is', 'of')
    draw = np.random.default_rng(2)
    texts = [' '.join(draw.choice(words, draw.integers(1, 60))) for _ in range(30)]
    lines = [json.dumps({'text': text, 'label': i % 2}) for i, text in enumerate(texts)]
    (tmp_path / 'train.jsonl').write_text('\n'.join(lines[:16]))
    (tmp_path / 'test.jsonl').write_text('\n'.join(lines[16:]))
    data = {'source': f'jsonl:{tmp_path}', 'val_fraction': 0.25, 'batch_size': 4}
    run_in(tmp_path / 'run', 'docstrings', {**data, 'eval_batch_size': 4, 'max_length': 32})
    outputs, split = evaluated(tmp_path / 'run')
    trained = open_trained(str(tmp_path / 'run' / 'model'))
    ids, found, failed = all_of(trained, tmp_path / 'test.jsonl')
    assert ids == [*split.ids] and not failed and found.tobytes() == outputs.tobytes()
    # Rows that cannot be read are left out, and only they.
    bad = [lines[16], '{"text": ', '[1]', '{"text": ""}', r'{"text": "\ud800"}', lines[17]]
    (tmp_path / 'new.jsonl').write_text('\n'.join(bad))
    ids, found, failed = all_of(trained, tmp_path / 'new.jsonl')
    assert ids == ['new.jsonl:1', 'new.jsonl:6']
    assert sorted(each.id for each in failed) == [f'new.jsonl:{n}' for n in (2, 3, 4, 5)]
    # A table with a header and quoted texts; a text column that a flag names.
    (tmp_path / 'new.csv').write_text('body,x\n"a, value\nof",1\nlist,2,3\nstring,4\n')
    with pytest.raises(UserError, match=r'data\.text_column'):
        all_of(trained, tmp_path / 'new.csv')
    settings = read_config({'data': {'text_column': 'body', 'quoting': 'csv'}}).data
    ids, found, failed = all_of(trained, tmp_path / 'new.csv', settings=settings)
    assert ids == ['new.csv:3', 'new.csv:5'] and [each.id for each in failed] == ['new.csv:4']
    np.savez(tmp_path / 'new.npz', x=np.array(['a, value\nof', 'string']))
    assert all_of(trained, tmp_path / 'new.npz')[1].tobytes() == found.tobytes()
    # Embeddings of any stage, one vector a text; a text that is padded more has the same.
    stages = trained.network.stages
    for stage in (stages[0], stages[2], stages[-2]):
        done = write_features(
            trained, str(tmp_path / 'test.jsonl'), tmp_path / 'e.npz', stage, progress=False
        )
        with np.load(tmp_path / 'e.npz', allow_pickle=False) as kept:
            assert kept['features'].shape[0] == done.rows == 14 == len(kept['ids'])
            assert kept['features'].dtype == np.float32 and np.isfinite(kept['features']).all()
            alone, parts = kept['features'], all_of(trained, tmp_path / 'test.jsonl', stage=stage)
            assert parts[1].tobytes() == alone.tobytes()
    with pytest.raises(UserError, match='stage'):
        all_of(trained, tmp_path / 'test.jsonl', stage='nowhere')
    with pytest.raises(UserError, match='texts'):
        all_of(trained, tmp_path)
    with pytest.raises(UserError, match='mirrors images'):
        all_of(trained, tmp_path / 'test.jsonl', mirrored=True)


@pytest.mark.slow
def test_arrays_values_and_several_labels(tmp_path):
    draw = np.random.default_rng(3)
    images = draw.random((24, 10, 12, 1)).astype(np.float32)
    arrays = {'x_train': images[:16], 'x_test': images[16:]}
    values = images.mean(axis=(1, 2, 3)) + np.arange(24)
    np.savez(tmp_path / 'v.npz', **arrays, y_train=values[:16], y_test=values[16:])
    task = {'task': 'regression', 'batch_size': 4, 'eval_batch_size': 3, 'val_fraction': 0.25}
    run_in(tmp_path / 'values', 'glyphs', {'source': f'npz:{tmp_path / "v.npz"}', **task})
    outputs, _ = evaluated(tmp_path / 'values')
    trained = open_trained(str(tmp_path / 'values' / 'model'))
    np.savez_compressed(tmp_path / 'new.npz', x=images[16:], ids=[f'p{i}' for i in range(8)])
    ids, found, failed = all_of(trained, tmp_path / 'new.npz')
    assert ids[0] == 'p0' and not failed and found.tobytes() == outputs.tobytes()
    write_predictions(
        trained, str(tmp_path / 'new.npz'), tmp_path / 'v.jsonl', AnswerOptions(), progress=False
    )
    rows = [json.loads(line) for line in (tmp_path / 'v.jsonl').read_text().splitlines()]
    assert [row['predicted'] for row in rows] == pytest.approx(outputs[:, 0])
    with pytest.raises(UserError, match='top_k means nothing'):
        next(iter(outputs_of_source(trained, str(tmp_path / 'new.npz'), failed.append))).rows(
            trained, AnswerOptions(top_k=3)
        ).__next__()
    # A row that is no image is left out; the others are what they were.
    broken = images[16:].copy()
    broken[2, 0, 0] = np.nan
    np.savez(tmp_path / 'bad.npz', x=broken)
    ids, found, failed = all_of(trained, tmp_path / 'bad.npz', batch_size=8)
    assert [each.id for each in failed] == ['000002'] and len(ids) == 7
    assert found == pytest.approx(np.delete(outputs, 2, axis=0), abs=1e-5)
    mirrored = all_of(trained, tmp_path / 'new.npz', mirrored=True)[1]
    np.savez(tmp_path / 'turned.npz', x=images[16:, :, ::-1])
    other = all_of(trained, tmp_path / 'turned.npz')[1]
    # Resizing an image and its mirror image rounds in another order.
    assert mirrored == pytest.approx((outputs + other) / 2, abs=1e-4)
    assert np.abs(mirrored - outputs).max() > 1e-3
    hot = (draw.random((24, 3)) < 0.5).astype(np.int64)
    hot[:3] = np.eye(3)
    np.savez(tmp_path / 'm.npz', **arrays, y_train=hot[:16], y_test=hot[16:])
    task['task'] = 'multilabel'
    run_in(tmp_path / 'labels', 'glyphs', {'source': f'npz:{tmp_path / "m.npz"}', **task})
    outputs, _ = evaluated(tmp_path / 'labels')
    trained = open_trained(str(tmp_path / 'labels'))
    part = next(iter(outputs_of_source(trained, str(tmp_path / 'new.npz'), failed.append)))
    rows = list(part.rows(trained, AnswerOptions(threshold=0.3)))
    for row, logits in zip(rows, outputs, strict=False):
        chances = 1 / (1 + np.exp(-logits.astype(np.float64)))
        assert [row[f'p:{c}'] for c in range(3)] == pytest.approx(chances)
        assert row['predicted'] == '|'.join(str(c) for c in range(3) if chances[c] >= 0.3)


NASTY = ('=HYPERLINK("http://x")', '+1', '@SUM(A1)', '-2', '\x1b[31mred', '<script>x</script>')


def test_names_never_become_formulas_or_escapes(run, pictures, tmp_path):
    trained = open_trained(str(run))
    picture = next((pictures / 'test' / 'ants').iterdir()).read_bytes()
    folder = tmp_path / 'new'
    folder.mkdir()
    for name in NASTY:
        (folder / f'{name.replace("/", "|")}.png').write_bytes(picture)
    (folder / '=broken.png').write_bytes(b'x')
    done = write_predictions(
        trained, str(folder), tmp_path / 'p.csv', AnswerOptions(), progress=False
    )
    assert done.rows == len(NASTY) and done.failed == 1
    for file in ('p.csv', 'p_errors.csv'):
        text = (tmp_path / file).read_bytes().decode()
        assert '\x1b' not in text
        for cells in csv.reader(text.splitlines()):
            assert not any(cell[:1] in ('=', '+', '@', '\t', '\r') for cell in cells), cells
            assert cells[0][:1] != '-'
    assert "'=broken.png" in (tmp_path / 'p_errors.csv').read_text()
    write_predictions(trained, str(folder), tmp_path / 'p.jsonl', AnswerOptions(), progress=False)
    lines = (tmp_path / 'p.jsonl').read_text()
    assert '\x1b' not in lines
    ids = {json.loads(line)['id'] for line in lines.splitlines()}
    assert ids == {f'{name.replace("/", "|")}.png' for name in NASTY}  # JSON keeps them exactly
    assert all('\x1b' not in line for line in done.warnings())


def test_several_numbers_in_one_text_are_numbers_and_formulas_are_none(tmp_path):
    row = {'scores': '-0.42 1.3e-05', 'predicted': '-0.4|1.3', 'one': '-7', 'sum': '-2+3'}
    row |= {'text': '-1 cat', 'call': "-2|cmd|' /C calc'!A0", 'sign': '-'}
    with row_file(tmp_path / 'a.csv') as write:
        write(row)
    (found,) = csv.DictReader((tmp_path / 'a.csv').open(newline=''))
    safe = {name: f"'{row[name]}" for name in ('sum', 'text', 'call', 'sign')}
    assert found == {**row, **safe}


@pytest.mark.parametrize(
    ('flag', 'output'),
    [('threshold=nonsense', 'f.npz'), ('nocalibrated', 'f.npz'), ('threshold=0.3', 'masks')],
)
def test_flags_of_answers_are_refused_beside_features_and_masks(flag, output, tmp_path, repository):
    command = [sys.executable, 'scripts/predict.py', f'--workdir={tmp_path}', f'--{flag}']
    command += ['--input=a.png', f'--output={tmp_path / output}']
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200)
    name = flag.split('=')[0].removeprefix('no')
    assert done.returncode == 2 and f'--{name} is for rows of answers' in done.stderr, done.stderr


def test_what_cannot_be_answered_is_refused(run, pictures, tmp_path):
    trained = open_trained(str(run))
    with pytest.raises(UserError, match=r'\.csv or \.jsonl'):
        write_predictions(trained, str(pictures), tmp_path / 'p.xlsx', AnswerOptions())
    with pytest.raises(UserError, match='nothing was fitted'):
        answer_options(trained, threshold='validation')
    with pytest.raises(UserError, match='expected a number'):
        answer_options(trained, threshold='often')
    table = tmp_path / 'in.csv'
    table.write_text('image\nx.png\n')
    with pytest.raises(UserError, match='is the input'):
        write_predictions(trained, str(table), table, AnswerOptions(), progress=False)
    with pytest.raises(UserError, match=r'none of 1 inputs could be read.*no image'):
        write_predictions(trained, str(table), tmp_path / 'o.csv', AnswerOptions(), progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in.csv']
    failed = table.rename(tmp_path / 'o_errors.csv')
    with pytest.raises(UserError, match=r'o_errors.csv would name.*is the input'):
        write_predictions(trained, str(failed), tmp_path / 'o.csv', AnswerOptions(), progress=False)
    with pytest.raises(UserError, match='would hold the metrics, and is the input'):
        check_not_input(str(failed), failed, 'would hold the metrics, and is')
    check_not_input(str(failed), tmp_path / 'other.json')
    failed.rename(table)
    with pytest.raises(UserError, match='no image'):
        all_of(trained, tmp_path)
    table.write_text('image\n../secret.png\n')
    (failure,) = _failures(trained, table)
    assert 'leads out of' in failure.reason


def _failures(trained, table):
    failed = []
    list(outputs_of_source(trained, str(table), failed.append))
    return failed


def test_a_network_that_guesses_tokens_gives_embeddings_and_no_answers(tmp_path):
    from ftjax.pretrained.open import load_pretrained
    from ftjax.pretrained.own_format import save_own

    found = load_pretrained('docstrings', num_classes=2, head='new')
    save_own(tmp_path / 'n', found.network, found.variables, found.preprocessing, ())
    np.savez(tmp_path / 'x.npz', x=np.array(['a value', 'the list']))
    trained = open_trained(str(tmp_path / 'n'))
    settings = read_config({'data': {'task': 'masked_tokens'}}).data
    masked = dataclasses.replace(trained, settings=settings)
    with pytest.raises(UserError, match='hidden tokens'):  # before anything is computed
        next(iter(outputs_of_source(masked, str(tmp_path / 'x.npz'), print)))
    stage = trained.network.stages[-2]
    assert all_of(masked, tmp_path / 'x.npz', stage=stage)[1].shape[0] == 2
