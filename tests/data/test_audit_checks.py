"""The checks of the whole audit, each on what is planted for it."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.metrics import average_precision_score

from ftjax.config import read_config
from ftjax.data import Dataset, DataSettings, Splits, load_data
from ftjax.data.audit.audit_page import audit_page
from ftjax.data.audit.examples import Examples
from ftjax.data.audit.findings.label_findings import label_findings
from ftjax.data.audit.findings.shift_findings import shift_findings
from ftjax.data.audit.findings.text_findings import repaired_text, text_findings
from ftjax.data.audit.full import Seen, full_audit, open_files
from ftjax.data.audit.measures.image_looks import image_looks
from ftjax.data.audit.measures.label_errors import confident_learning, held_out_probabilities
from ftjax.data.audit.measures.near_features import feature_pairs
from ftjax.data.audit.measures.shift import shift_between
from ftjax.data.audit.quick import leak_line
from ftjax.data.audit.records import cleaned_index, index_text, records
from ftjax.data.synthetic.payments import payments
from ftjax.runs.before_training import audit as network_audit

NOISE = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 1), dtype=np.uint8)


def blobs(n, classes=3, noise=0.1, seed=0, apart=2.0):
    """Features, true labels, labels of which a share is wrong, and which those are."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    centres = apart * rng.normal(size=(classes, 8))
    wrong = rng.random(n) < noise
    given = np.where(wrong, (true + rng.integers(1, classes, n)) % classes, true)
    return centres[true] + rng.normal(size=(n, 8)), true, given, wrong


def split_texts(train, test, labels=None):
    labels = labels or [i % 2 for i in range(len(train) + len(test))]
    whole = Dataset(
        name='d x', kind='text', inputs=[*train, *test], labels=labels, class_names='ab'
    )
    where = np.arange(len(whole))
    return Splits(
        train=whole.take(where[: len(train)]),
        val=whole.take([]),
        test=whole.take(where[len(train) :]),
        given=('train', 'test'),
    )


def test_confident_learning_finds_planted_label_errors():
    features, true, given, wrong = blobs(600)
    probabilities = held_out_probabilities(features, given)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    found = confident_learning(given, probabilities)
    flagged = np.isin(np.arange(600), found.flagged)
    assert (flagged & wrong).sum() / wrong.sum() > 0.85
    assert (flagged & wrong).sum() / flagged.sum() > 0.85
    assert (found.suggested[flagged & wrong] == true[flagged & wrong]).mean() > 0.9
    assert average_precision_score(wrong, found.score) > 0.9
    assert found.joint.sum() == pytest.approx(600)
    np.testing.assert_allclose(found.joint.sum(axis=1), np.bincount(given))
    assert abs(np.trace(found.joint) / 600 - (1 - wrong.mean())) < 0.03


def test_label_errors_agree_with_cleanlab():
    filters = pytest.importorskip('cleanlab.filter')
    from cleanlab.rank import get_label_quality_scores

    for seed in range(3):
        features, _, given, wrong = blobs(600, classes=4, seed=seed, apart=1.2)
        probabilities = held_out_probabilities(features, given)
        found = confident_learning(given, probabilities)
        theirs = np.flatnonzero(filters.find_label_issues(given, probabilities, n_jobs=1))
        both = np.intersect1d(theirs, found.flagged)
        assert len(both) / len(np.union1d(theirs, found.flagged)) > 0.9
        score = 1 - get_label_quality_scores(given, probabilities)
        ours = average_precision_score(wrong, found.score)
        assert ours >= average_precision_score(wrong, score) - 1e-9


def test_a_head_has_seen_no_example_of_a_group():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    features = rng.normal(size=(60, 6))[groups] + 0.01 * rng.normal(size=(300, 6))
    labels = rng.integers(0, 2, 60)[groups]  # of a group, and nothing else tells it
    alone = held_out_probabilities(features, labels)
    whole = held_out_probabilities(features, labels, groups)
    accuracy = [(p.argmax(axis=1) == labels).mean() for p in (alone, whole)]
    assert accuracy[1] < 0.65 and accuracy[0] >= accuracy[1] - 0.05
    assert held_out_probabilities(features[:3], np.array([0, 0, 1])) is None


def test_a_shift_is_found_and_none_is_not():
    p = []
    for seed in range(60):
        left, right = np.random.default_rng(seed).normal(size=(2, 80, 5))
        p.append(shift_between(left, right, seed, 300).p)
    assert 0.0 <= np.mean(np.array(p) <= 0.1) <= 0.22 and 0.35 < np.mean(p) < 0.65
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(200, 5)), rng.normal(1.5 * np.eye(5)[0], size=(150, 5))
    found = shift_between(left, right)
    # Of two normals 1.5 standard deviations apart the best classifier has AUC 0.856.
    assert 0.78 < found.auc < 0.92 and found.p < 0.002
    assert shift_between(left[:10], right) is None


def test_feature_pairs_are_copies_and_not_classes():
    rng = np.random.default_rng(0)
    centres = 5 * rng.normal(size=(4, 16))
    features = centres[np.arange(200) % 4] + 0.5 * rng.normal(size=(200, 16))
    copied = features[:10] + 0.02 * rng.normal(size=(10, 16))
    pairs, cosines = feature_pairs(np.concatenate([features, copied]))
    assert pairs.tolist() == [[i, 200 + i] for i in range(10)]
    assert (cosines > 0.99).all()


def test_damaged_texts_are_told_apart_from_whole_ones():
    for text in (
        'naïve café – “quoted” 10 €',
        'Ångström',
        '日本語のテキスト',
        'добрый день',
        'plain',
    ):
        assert repaired_text(text) is None
        for encoding in ('cp1252', 'latin-1'):
            try:
                broken = text.encode().decode(encoding)
            except UnicodeDecodeError:
                continue
            if broken != text:
                assert repaired_text(broken) == text
    for whole in ('Das macht „Spaß“.', '»Spaß«', '“CAFÉ”', '«CAFÉ»', '¿SÍ…', '“CAFÉ”, “SÍ”'):
        assert repaired_text(whole) is None  # by chance a capital and a quote are UTF-8
    texts = ['fine text', 'caf\ufffd', 'caf\u00c3\u00a9', '<NA>', '   ', 'добрый день', ':-)']
    splits = split_texts(texts, ['another'])
    found = {one.check: one for one in text_findings(Examples(splits), np.full(8, True), 4)}
    where = {name: [row.position for row in one.rows] for name, one in found.items()}
    assert where == {
        'replacement characters': [1],
        'mojibake': [2],
        'empty texts': [4],
        'placeholders': [3],
        'cut texts': [*range(8)],
        'several scripts': [5],
        'texts without words': [6],
    }
    assert (
        found['cut texts'].measured == 1.0
        and "'café' was meant" in found['mojibake'].rows[0].detail
    )


@pytest.mark.parametrize(
    ('task', 'head', 'row', 'cut'),
    [
        (
            'embedding',
            {'head': 'vector', 'num_classes': 0},
            {'anchor': 'a list', 'positive': 'a list of names ' * 9},
            [0, 2, 4],
        ),
        (
            'token_classification',
            {'pool': 'none'},
            {'tokens': ['list'] * 40, 'tags': ['O', 'B-x'] * 20},
            [],
        ),
    ],
)
def test_cut_texts_are_examples(bert, tmp_path, monkeypatch, task, head, row, cut):
    """Not rows of tokens, of which some examples have several; windows cut nothing."""
    short = {name: value[:4] for name, value in row.items()}
    (tmp_path / 'd.jsonl').write_text('\n'.join(map(json.dumps, [row, short] * 3)))
    data = {'source': f'jsonl:{tmp_path}/d.jsonl', 'task': task, 'max_length': 16}
    data |= {'val_fraction': 0.0, 'test_fraction': 0.0}
    opened = dataclasses.replace(bert, network=bert.network.clone(**head))
    monkeypatch.setattr(network_audit, 'open_network', lambda *_: opened)
    monkeypatch.setattr(network_audit, 'frozen_features', lambda *_: np.zeros((6, 1), np.float32))
    config = read_config({'init': 'bert', 'data': data})
    splits = load_data(config.data)
    seen = network_audit.seen_by_network(config, splits, features=True, progress=False)
    found = text_findings(Examples(splits), seen.lost, seen.longest)
    lost = [row.position for one in found for row in one.rows if one.check == 'cut texts']
    assert lost == cut


@pytest.fixture
def photographs(tmp_path):
    """26 photographs of which some are broken, dark, blurred, turned, tiny, grey or lengthy."""
    rng = np.random.default_rng(0)
    for i in range(26):
        coarse = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        image = coarse.resize((120, 100), Image.Resampling.NEAREST)
        options = {}
        if i == 3:
            image = image.filter(ImageFilter.GaussianBlur(5))
        if i == 4:
            image = Image.eval(image, lambda v: v // 16)
        if i == 5:
            image = Image.new('RGB', (120, 100), (90, 90, 90))
        if i == 6:
            image = image.resize((12, 10))
        if i == 7:
            image = image.resize((400, 100))
        if i == 8:
            image = image.convert('L')
        if i == 9:
            options['exif'] = Image.Exif()
            options['exif'][0x0112] = 6
        place = tmp_path / 'd' / 'ab'[i % 2] / f'{i:02d}.jpg'
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place, quality=95, **options)
    bad = tmp_path / 'd' / 'a' / '10.jpg'
    bad.write_bytes(bad.read_bytes()[:700])
    return f'folder:{tmp_path}/d'


def test_brightness_is_that_of_what_a_network_sees(tmp_path):
    real, clear = tmp_path / 'real.tif', tmp_path / 'clear.png'
    Image.fromarray(np.full((20, 20), 0.5, np.float32)).save(real)
    Image.fromarray(np.zeros((20, 20, 4), np.uint8)).save(clear)
    looks = image_looks(
        Dataset(
            name='d', kind='image_file', inputs=[str(real), str(clear)], labels=[0, 1],
            class_names='ab',
        )
    )  # fmt: skip
    assert [look.brightness for look in looks] == [128.0, 255.0]


def test_images_that_are_odd_are_named(photographs, tmp_path):
    splits = load_data(DataSettings(source=photographs, verify='none', val_fraction=0))
    opened = open_files(splits)
    assert [(split, i) for split, i, _ in opened.broken] in (
        [('train', 'a/10.jpg')], [('test', 'a/10.jpg')],
    )  # fmt: skip
    audit = full_audit(opened, Seen(side=64))
    named = {
        one.check: sorted(audit.examples.id(row.position)[2:4] for row in one.rows)
        for one in audit.findings
    }
    assert named['blurred images'] == ['03'] and named['dark or bright images'] == ['04']
    assert named['blank images'] == ['05'] and named['tiny images'] == ['06']
    assert named['odd shapes'] == ['07'] and named['mixed modes'] == ['08']
    assert named['EXIF rotation'] == ['09']
    found = records(audit, opened.broken)
    assert found[0].check == 'broken files' and found[0].action == 'drop'
    file = tmp_path / 'clean.csv'
    file.write_text(index_text(found))
    again = load_data(DataSettings(source=photographs, exclude=str(file)))
    assert sum(map(len, (again.train, again.val, again.test))) == 25
    html = audit_page(audit, opened, 'none')
    assert html.count('<img alt=') >= 7 and '10.jpg' in html


@pytest.mark.parametrize(
    ('kind', 'inputs', 'told'),
    [
        ('image', NOISE[:, :12, :12], 'near not looked for (images are smaller than 16 pixels)'),
        ('image', NOISE, '0 near'),
        (
            'table',
            payments(40, 0)[0],
            'near not looked for (no near copies of such inputs are defined)',
        ),
    ],
)
def test_features_claim_no_look_that_no_content_can_confirm(kind, inputs, told):
    labels = np.arange(40) % 2
    whole = Dataset(name='d', kind=kind, inputs=inputs, labels=labels, class_names='ab')
    parts = [whole.take(np.arange(*ends)) for ends in ((0, 30), (30, 30), (30, 40))]
    splits = Splits(train=parts[0], val=parts[1], test=parts[2])
    features = np.random.default_rng(1).normal(size=(40, 4))
    audit = full_audit(open_files(splits), Seen(features, side=12))
    assert leak_line(audit) == f'also in training: test 0 exact, {told}'


def test_a_page_shows_copies_side_by_side_and_no_text_becomes_markup():
    splits = split_texts(['<b>Good</b> & fine', 'other', 'third'], ['<B>good</B> & fine!', 'new'])
    audit = full_audit(open_files(splits))
    html = audit_page(audit, open_files(splits), 'none')
    assert '<b>' not in html and '&lt;b&gt;Good&lt;/b&gt; &amp; fine' in html
    assert '&lt;B&gt;good&lt;/B&gt; &amp; fine!' in html
    assert 'test 1 exact, 0 near' in html


def test_the_cleaned_index_takes_the_strongest_action(tmp_path):
    text = 'a long sentence of many words that is repeated'
    train = [text, text + '!', 'something else', text.replace('many', 'some'), 'fresh words here']
    splits = split_texts(train, [text.upper(), 'test only'], [0, 0, 1, 0, 1, 0, 1])
    audit = full_audit(open_files(splits))
    assert audit.leaks() == {'test': {'n': 2, 'exact': 1, 'near': 0}}
    index = cleaned_index(records(audit))
    assert [(one.split, one.id, one.action) for one in index if one.action == 'drop'] == [
        ('train', '000000', 'drop'), ('train', '000001', 'drop'),
    ]  # fmt: skip
    rows = [*csv.DictReader(io.StringIO(index_text(records(audit))))]
    assert rows[0]['split'] == 'train' and rows[0]['partner'] == 'test 000005'
    assert dataclasses.asdict(index[0])['check'] == 'copies in training'


def test_label_errors_and_shifts_are_findings():
    features, _, given, _ = blobs(400, classes=2, noise=0.08)
    whole = Dataset(
        name='d', kind='text', inputs=[f'text number {i}' for i in range(400)],
        labels=given, class_names='ab',
    )  # fmt: skip
    parts = [whole.take(np.arange(*ends)) for ends in ((0, 250), (250, 250), (250, 400))]
    splits = Splits(train=parts[0], val=parts[1], test=parts[2])
    audit = full_audit(open_files(splits), Seen(features))
    one = next(one for one in audit.findings if one.check == 'label errors')
    assert 0.04 < one.measured < 0.14
    assert {row.action for row in one.rows if row.position >= 250} == {'review'}
    assert 'relabel' in {row.action for row in one.rows}
    assert not any(one.check == 'shift between splits' for one in audit.findings)
    assert one.severity == 'warning' and 'labels are likely wrong' in one.message
    noise = np.random.default_rng(0).normal(size=features.shape)
    audit = full_audit(open_files(splits), Seen(noise))
    one = next(one for one in audit.findings if one.check == 'label errors')
    assert one.severity == 'note' and 'how many labels are wrong cannot be told' in one.message
    assert 'likely wrong' not in one.message
    moved = features + np.where(np.arange(400) < 250, 0, 3)[:, None] * np.eye(8)[0]
    audit = full_audit(open_files(splits), Seen(moved))
    assert any(one.check == 'shift between splits' for one in audit.findings)


def test_no_label_is_changed_by_a_head_that_is_not_believed():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    splits = split_texts([f'text number {i}' for i in range(150)], ['t'] * 50, labels.tolist())
    noise = 9 * rng.normal(size=(200, 120))
    probabilities = held_out_probabilities(noise, labels)
    assert (probabilities.max(axis=1) > 0.95).any()  # sure of itself
    found = next(iter(label_findings(Examples(splits), noise)))
    assert 'cannot be told' in found.message
    assert {row.action for row in found.rows} == {'review'}


def test_splits_that_part_no_group_are_compared_by_groups():
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(60), 10)
    texts = [f'text number {i}' for i in range(600)]
    splits = split_texts(texts[:350], texts[350:])
    parts = {
        name: dataclasses.replace(getattr(splits, name), groups=of[rows].astype(str))
        for name, rows in (('train', slice(350)), ('test', slice(350, None)))
    }
    patients = 3 * rng.normal(size=(60, 8))[of] + rng.normal(size=(600, 8))
    assert next(shift_findings(Examples(splits), patients)).measured > 0.6  # without groups
    grouped = Examples(dataclasses.replace(splits, **parts))
    assert list(shift_findings(grouped, patients)) == []
    moved = patients + np.where(np.arange(600) < 350, 0, 9)[:, None] * np.eye(8)[0]
    (found,) = shift_findings(grouped, moved)
    assert 'test groups differ' in found.message


def test_a_class_of_one_example_does_not_end_the_check_of_labels():
    features, _, given, wrong = blobs(200, classes=2, noise=0.05)
    whole = split_texts([f'text number {i}' for i in range(200)], ['t'], [*given.tolist(), 1])
    want = next(iter(label_findings(Examples(whole), np.vstack([features, 0 * features[:1]]))))
    labels = [*given.tolist(), 2]
    texts = [f'text number {i}' for i in range(201)]
    data = Dataset(name='d', kind='text', inputs=texts, labels=labels, class_names=('a', 'b', 'c'))
    order = np.arange(201)[::-1]  # the single example stands first
    none = data.take([])
    splits = Splits(train=data.take(order), val=none, test=none)
    found = list(label_findings(Examples(splits), np.vstack([features, 9 + features[:1]])[order]))
    assert [one.check for one in found] == ['labels not looked at', 'label errors']
    assert '1 class of a single example' in found[0].message and "'c'" in found[0].message
    flagged = {200 - row.position for row in found[1].rows}
    assert len(flagged & {*np.flatnonzero(wrong).tolist()}) >= 0.8 * len(flagged) > 0
    assert abs(len(flagged) - len(want.rows)) <= 2


def test_a_class_of_one_group_is_said_to_be_left_out():
    features, _, given, _ = blobs(60, classes=3)
    groups = np.where(given == 2, 'one', [f'g{i // 2}' for i in range(60)])
    data = Dataset(
        name='d', kind='text', inputs=[f'text number {i}' for i in range(60)], labels=given,
        class_names='abc', groups=groups,
    )  # fmt: skip
    splits = Splits(train=data, val=data.take([]), test=data.take([]))
    found = list(label_findings(Examples(splits), features))
    assert 'of a single group' in found[0].message
