"""Copies in a data set: of bytes, of pixels, of normalised texts, and near ones."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.fft import dctn

from ftjax.data import Dataset, DataSettings, Splits, load_data
from ftjax.data.audit.examples import Examples
from ftjax.data.audit.measures.duplicates import find_duplicates
from ftjax.data.audit.measures.keys import normalised
from ftjax.data.audit.measures.perceptual import close_pairs, hashes, transforms
from ftjax.data.audit.measures.shingles import near_texts
from ftjax.data.audit.quick import leak_line, quick_audit


def pictures(count, seed=0, size=64):
    """Smooth random pictures, as unlike each other as photographs are."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        made.append(coarse.resize((size, size), Image.Resampling.BICUBIC))
    return made


def text_splits(train, test, labels=None, **options):
    labels = labels or [i % 2 for i in range(len(train) + len(test))]
    whole = Dataset(
        name='d', kind='text', inputs=[*train, *test], labels=labels, class_names='xy', **options
    )
    where = np.arange(len(whole))
    parts = where[: len(train)], where[:0], where[len(train) :]
    return Splits(**dict(zip(('train', 'val', 'test'), map(whole.take, parts), strict=True)))


def folder_of(tmp_path, train, test, suffix='png', **options):
    for part, images in (('train', train), ('test', test)):
        for i, image in enumerate(images):
            place = tmp_path / part / 'ab'[i % 2] / f'{i}.{suffix}'
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(image, bytes):
                place.with_suffix('.jpg').write_bytes(image)
            else:
                image.save(place, **options)
    return load_data(DataSettings(source=f'folder:{tmp_path}', val_fraction=0))


def jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=quality)
    return file.getvalue()


def test_texts_are_compared_without_case_punctuation_and_spacing():
    train = ['A good film.', 'Not my taste', 'Ｗｉｄｅ letters', 'naïve']
    test = ['a  GOOD film!', 'my taste', 'wide letters', 'nai\u0308ve']
    audit = quick_audit(text_splits(train, test))
    assert audit.leaks() == {'test': {'n': 4, 'exact': 3, 'near': 0}}
    assert normalised('don\u2019t_do  it') == 'don t do it'
    assert len({normalised(text) for text in (':-)', ':-(', '!', '')}) == 4


def test_one_input_under_several_labels_is_an_error():
    splits = text_splits(['same', 'Same', 'other', 'more'], ['new'], [0, 1, 0, 1, 0])
    found = {one.check: one for one in quick_audit(splits).findings}
    conflict = found['one input, several labels']
    assert conflict.severity == 'error'
    assert [(row.position, row.action) for row in conflict.rows] == [(0, 'drop'), (1, 'drop')]
    assert 'copies within a split' not in found


def test_rows_of_a_table_with_the_same_cells_are_reviewed_and_not_dropped(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f'{a},{b},{"yn"[c]}' for a, b, c in rng.integers(0, 2, (80, 3))]
    (tmp_path / 'd.csv').write_text('\n'.join(['sex,old,label', *rows]) + '\n')
    splits = load_data(DataSettings(source=f'csv:{tmp_path}/d.csv', features=('sex', 'old')))
    found = {one.check: one for one in quick_audit(splits).findings}
    conflict = found['one input, several labels']
    assert conflict.severity == 'warning' and 'do not tell cases apart' in conflict.message
    assert len(found['copies in training'].rows) > 10
    actions = {row.action for one in found.values() for row in one.rows}
    assert actions == {'review'}


def test_files_of_other_bytes_and_the_same_pixels_are_the_same(tmp_path):
    images = pictures(6)
    for i, image in enumerate(images):
        for part, suffix in (('train', 'png'), ('test', 'bmp')):
            place = tmp_path / part / 'ab'[i % 2] / f'{i}.{suffix}'
            place.parent.mkdir(parents=True, exist_ok=True)
            image.save(place)
    splits = load_data(DataSettings(source=f'folder:{tmp_path}', val_fraction=0))
    assert quick_audit(splits).leaks() == {'test': {'n': 6, 'exact': 6, 'near': 0}}


@pytest.mark.parametrize(
    'change',
    [
        lambda image: jpeg(image, 40),
        lambda image: image.resize((40, 40)),
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    ],
    ids=['jpeg', 'smaller', 'mirrored', 'blurred'],
)
def test_near_copies_of_pictures_are_found_and_others_are_not(change, tmp_path):
    images = pictures(12)
    splits = folder_of(tmp_path, images[:8], [*map(change, images[:4]), *images[8:]])
    audit = quick_audit(splits)
    assert audit.leaks() == {'test': {'n': 8, 'exact': 0, 'near': 4}}
    assert leak_line(audit) == 'also in training: test 0 exact, 4 near'
    pairs = [
        [audit.examples.id(i).split('/')[-1].split('.')[0] for i in pair]
        for pair in audit.duplicates.near
    ]
    assert sorted(pairs) == [[str(i), str(i)] for i in range(4)]


def test_arrays_are_compared_as_pictures_too():
    x = np.stack([np.asarray(image) for image in pictures(20, size=32)])
    x[15:] = np.clip(x[:5].astype(int) + 6, 0, 255)
    whole = Dataset(name='d', kind='image', inputs=x, labels=np.arange(20) % 2, class_names='ab')
    parts = [whole.take(np.arange(*ends)) for ends in ((0, 10), (10, 10), (10, 20))]
    splits = Splits(train=parts[0], val=parts[1], test=parts[2])
    assert quick_audit(splits).leaks() == {'test': {'n': 10, 'exact': 0, 'near': 5}}
    empty = np.zeros((8, 32, 32, 3), np.uint8)
    empty[np.arange(8), 3 + 8 * (np.arange(8) // 2), 2 + 6 * (np.arange(8) % 2)] = 200
    dots = Dataset(
        name='d', kind='image', inputs=empty, labels=np.arange(8) % 2, class_names='ab'
    )  # one dot each: their bits are noise
    found = find_duplicates(Examples(Splits(train=dots, val=parts[1], test=dots.take([]))), True)
    assert not found.same and not len(found.near)


def test_close_pairs_are_those_of_a_plain_comparison():
    rng = np.random.default_rng(0)
    thumbs = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    thumbs[30:] = np.clip(
        thumbs[:30].astype(int) + rng.integers(-60, 60, thumbs[:30].shape), 0, 255
    )
    frequencies = transforms(thumbs)
    grey = thumbs.astype(np.float64) @ [0.299, 0.587, 0.114]
    want = dctn(grey, axes=(1, 2), norm='ortho')[:, :12, :12]
    np.testing.assert_allclose(frequencies, want, atol=0.01)
    mirrored = hashes(transforms(thumbs[:, :, ::-1]))
    codes = hashes(frequencies)
    unlike = np.unpackbits((hashes(frequencies, mirrored=True) ^ mirrored).view(np.uint8))
    assert unlike.sum() <= 4  # bits that lie on their median
    bits = np.unpackbits(codes.view(np.uint8), axis=1)
    apart = (bits[:, None] != bits[None]).sum(-1)
    assert bits.shape[1] >= 143 and not bits[:, 143:].any()
    got = np.concatenate([*close_pairs(codes, codes, 30)])
    want = [(i, j, apart[i, j]) for i, j in np.argwhere(apart <= 30)]
    assert sorted(map(tuple, got.tolist())) == sorted(want)
    assert len(want) > 60


def test_near_texts_are_those_of_the_exact_jaccard_index():
    rng = np.random.default_rng(1)
    words = [''.join(rng.choice(list('abcdefghij'), 5)) for _ in range(300)]
    texts = [' '.join(rng.choice(words, 25)) for _ in range(150)]
    texts += [text.replace(text.split()[3], 'changed', 1) for text in texts[:40]]
    texts += ['', 'abc', 'abc']
    grams = [{text[i : i + 5] for i in range(len(text) - 4)} for text in texts]
    want = [
        (i, j)
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if grams[i] and grams[j] and len(grams[i] & grams[j]) / len(grams[i] | grams[j]) >= 0.6
    ]
    assert len(want) >= 40
    assert [*map(tuple, near_texts(texts).tolist())] == want
    apart = np.arange(len(texts)) % 2
    across = [(i, j) for i, j in want if apart[i] != apart[j]]
    assert [*map(tuple, near_texts(texts, apart).tolist())] == across


def test_the_audit_is_made_once_for_splits():
    splits = text_splits(['a', 'b'], ['a'])
    assert quick_audit(splits) is quick_audit(splits)
    told = quick_audit(splits).to_json()
    assert told['leaks'] == {'test': {'n': 1, 'exact': 1, 'near': 0}}
    assert told['findings'][-1]['examples'] == ['train 000000']


def test_copies_in_validation_and_test_are_said_and_dropped_from_validation():
    text = ['one', 'two', 'three', 'four', 'Three!', 'five']
    whole = Dataset(name='d', kind='text', inputs=text, labels=[0, 1] * 3, class_names='xy')
    splits = Splits(train=whole.take([0, 1]), val=whole.take([2, 3]), test=whole.take([4, 5]))
    found = {one.check: one for one in quick_audit(splits).findings}
    assert found['copies in validation'].message.startswith('1 of 2 test examples stand in')
    assert [(row.position, row.action) for row in found['copies in validation'].rows] == [
        (2, 'drop')
    ]


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ('मैं जाता हूँ', 'मैं जाती हूँ'),  # I go, of a man and of a woman
        ('น้ำ', 'นำ'),  # water, to lead
        ('good 😀', 'good 😢'),
        ('x < 3', 'x > 3'),
        ('C++', 'C#'),
        ('-5 degrees', '5 degrees'),
    ],
)
def test_vowel_signs_emoji_and_symbols_are_no_dress(one, other):
    assert normalised(one) != normalised(other)
    assert quick_audit(text_splits([one, 'text'], [other])).leaks()['test']['exact'] == 0


def test_the_dress_of_texts_is_still_put_off():
    assert normalised('हाँ।') == normalised(' हाँ !')  # a danda ends sentences
    assert normalised('the `code`, 1990-95') == 'the code 1990 95'
    assert normalised('love ❤️') == normalised('love ❤')
