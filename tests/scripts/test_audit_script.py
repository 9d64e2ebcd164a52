"""The audit from end to end: the script on a planted table, and features of a network."""

import csv
import json
import subprocess
import sys

import numpy as np
from PIL import Image

from ftjax.config import read_config
from ftjax.data import DataSettings, load_data
from ftjax.runs.before_training.audit import audit_data
from ftjax.runs.before_training.frozen_features import frozen_features


def audit(tmp_path, *flags):
    return subprocess.run(
        [
            *(sys.executable, 'scripts/audit.py', '--config=configs/finetune.py:texts'),
            *(f'--workdir={tmp_path}/out', '--nofeatures', *flags),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_script_finds_what_is_planted_and_its_index_takes_it_out(tmp_path):
    rng = np.random.default_rng(0)
    words = [''.join(rng.choice([*'abcdefghij'], 6)) for _ in range(400)]
    rows = [(' '.join(rng.choice(words, 12)), 'xy'[i % 2]) for i in range(60)]
    rows += [(text.upper() + '!', label) for text, label in rows[:6]]  # copies
    rows += [(rows[10][0], 'y'), ('caf\u00c3\u00a9', 'x'), ('N/A', 'y')]  # a conflict, damage
    with (tmp_path / 'd.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('text', 'label'), *rows])
    source = f'--config.data.source=csv:{tmp_path}/d.csv'
    done = audit(tmp_path, source, f'--fix={tmp_path}/clean.csv')
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / 'out' / 'audit.json').read_text())
    checks = {one['check']: one for one in told['findings']}
    assert checks['one input, several labels']['examples'] == 2
    assert checks['mojibake']['examples'] == checks['placeholders']['examples'] == 1
    assert 'audit.html' in done.stdout and 'error:   1 input stands under several' in done.stdout
    assert (tmp_path / 'out' / 'audit.html').read_text().count('<section>') > 3
    exclude = str(tmp_path / 'clean.csv')
    again = load_data(DataSettings(source=f'csv:{tmp_path}/d.csv', exclude=exclude))
    texts = [text for part in (again.train, again.val, again.test) for text in part.inputs]
    left = [text.lower().strip('!') for text in texts if text != rows[10][0]]  # which is right?
    assert 'n/a' not in left and len(set(left)) == len(left)
    assert len(texts) >= 60 - 2
    assert not any('stand in training too' in note for note in again.notes)
    before = {file.name: file.read_bytes() for file in (tmp_path / 'out').iterdir()}
    for fix, said in ((exclude, 'exists already'), (f'{exclude}/x.csv', 'is no folder')):
        refused = audit(tmp_path, source, f'--fix={fix}')
        assert refused.returncode == 2 and said in refused.stderr
    refused = audit(tmp_path, source, f'--workdir={exclude}/out')  # the last one counts
    assert refused.returncode == 2 and refused.stderr.startswith('error: cannot write to')
    assert {file.name: file.read_bytes() for file in (tmp_path / 'out').iterdir()} == before


def test_features_are_one_row_an_example_in_its_order(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        place = tmp_path / 'd' / 'ab'[i % 2] / f'{i:02d}.png'
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (7, 7), dtype=np.uint8)
        Image.fromarray(pixels).resize((28, 28), Image.Resampling.BICUBIC).save(place)
    bad = tmp_path / 'd' / 'a' / '02.png'
    bad.write_bytes(bad.read_bytes()[:90])
    config = read_config({'init': 'glyphs', 'data': {'source': f'folder:{tmp_path}/d'}})
    found = audit_data(config, progress=False)
    assert found.source.startswith('glyphs, before head') and len(found.opened.broken) == 1
    assert any('cannot be read' in line for line in found.lines())
    found.write(tmp_path / 'out')
    rows = [*csv.DictReader((tmp_path / 'out' / 'audit.csv').open())]
    assert rows[0]['check'] == 'broken files' and rows[0]['id'] == 'a/02.png'
    from ftjax.data.matching import matching_preprocessing
    from ftjax.runs.network_opening import open_network

    splits = found.opened.splits
    opened = open_network(config, splits)
    pre = matching_preprocessing(splits.train, opened.network, opened.preprocessing, config.data)
    args = opened.network, opened.variables
    whole = frozen_features(*args, [splits.train, splits.test], pre)
    assert whole.shape[0] == len(splits.train) + len(splits.test)
    order = np.arange(len(splits.train))[::-1]
    np.testing.assert_allclose(
        frozen_features(*args, [splits.train.take(order)], pre)[::-1],
        whole[: len(order)],
        atol=1e-4,
    )


def test_of_windows_the_whole_images_are_audited(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(10):
        for folder, high in (('images', 255), ('masks', 2)):
            (tmp_path / folder).mkdir(exist_ok=True)
            pixels = rng.integers(0, high, (9, 9), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f'{i}.png')
    (tmp_path / 'images' / '1.png').write_bytes((tmp_path / 'images' / '0.png').read_bytes())
    data = {'source': f'masks:{tmp_path}', 'task': 'segmentation', 'verify': 'none'}
    data |= {'sliding': 0.5, 'image_size': (4, 4)}
    found = audit_data(read_config({'data': data}), features=False)
    assert found.records and {one.id for one in found.records} <= {
        f'images/{i}.png' for i in range(10)
    }
