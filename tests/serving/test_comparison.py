"""Two versions compared: data, config, metrics, paired examples, changed answers; text and page."""

import base64
import dataclasses
import io
import itertools

import numpy as np
import pytest
from altered_bundle import altered
from image_requests import Pickled

from ftjax.data.masks.indexed_png import indexed_png
from ftjax.data.masks.palette import colours
from ftjax.errors import UserError
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.serving.comparison.changed_answers import size_of
from ftjax.serving.comparison.diff_page import diff_page
from ftjax.serving.comparison.diff_text import diff_text
from ftjax.serving.comparison.run_differences import paired_difference, run_differences
from ftjax.serving.comparison.version_diff import diff
from ftjax.serving.versions.promotions import promote
from ftjax.serving.versions.publishing import publish
from ftjax.serving.versions.registry import Registry
from ftjax.serving.versions.version_listing import list_models, list_versions


def facts(values, test='t' * 64, **more):
    scores = ExampleScores(metric='accuracy', values=np.asarray(values))
    metrics = {'accuracy': float(np.mean(values)), 'examples': scores.packed(), **more}
    return {'data': {'train': 'a', 'val': 'v', 'test': test}, 'metrics': metrics, 'config': {}}


def test_the_paired_difference_is_that_of_the_examples_and_covers_as_it_says():
    random = np.random.default_rng(0)
    one = random.random(400) < 0.7
    other = np.where(random.random(400) < 0.2, ~one, one)
    found = paired_difference(facts(one), facts(other))
    differences = other.astype(float) - one
    assert found.difference == pytest.approx(differences.mean())
    # The normal interval of a mean of 400 differences, from its textbook formula.
    half = 1.96 * differences.std(ddof=1) / 20
    assert found.interval == pytest.approx(
        (differences.mean() - half, differences.mean() + half), abs=0.01
    )
    assert (found.first_only, found.second_only) == ((one & ~other).sum(), (other & ~one).sum())
    assert found.caution == ''


@pytest.mark.parametrize(
    ('first', 'second', 'words'),
    [
        ({}, facts([True, False]), 'holds no run.json'),
        (facts([True, False]), facts([True, False], test='u' * 64), 'the test sets differ'),
        (facts([True, False]), facts([True, False], examples=None), 'no scores of single examples'),
        (facts([True, False]), facts([True]), 'scored examples by'),
        (facts([True, False]), facts([True], examples={'n': 2}), 'scores of examples are'),
    ],
)
def test_what_cannot_be_paired_is_said(first, second, words):
    assert words in paired_difference(first, second)


def test_few_differing_examples_and_groups_are_cautioned_against():
    found = paired_difference(facts([True] * 20), facts([True] * 19 + [False], groups=3))
    assert 'in groups' in found.caution and 'only 1 examples differ' in found.caution


@pytest.fixture(scope='module')
def registry(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp('compared')

    def other_test_set(run):
        run['data']['test'] = 'f' * 64
        run['config']['train']['steps'] = 99
        run['config']['freeze'] = 'head <b>'

    registry = Registry(folder / 'reg')
    publish(registry, images.bundle, 'noise', note='the <first>')
    publish(registry, altered(images.bundle, folder / 'b2', 1, by=1.0), 'noise')
    publish(registry, altered(images.bundle, folder / 'b3', 2, run=other_test_set), 'noise')
    promote(registry, 'noise@1', 'production', 'r')
    return registry


def test_changed_answers_are_those_of_both_bundles(registry, tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (40, 8, 8, 1), np.uint8)
    np.savez(tmp_path / 'on.npz', x=pixels)
    told = []
    found = diff(
        registry,
        'noise@production',
        'noise@2',
        on=str(tmp_path / 'on.npz'),
        progress=lambda *counts: told.append(counts),
    )
    sides = [registry.load(f'noise@{n}').predict(list(pixels)) for n in (1, 2)]
    changed = [a['predicted'] != b['predicted'] for a, b in zip(*sides, strict=True)]
    assert 0 < found.answers.changed == sum(changed) < 40 == found.answers.n
    assert {m[1] for m in found.answers.moves} == {'bee'}
    assert sum(m[2] for m in found.answers.moves) == found.answers.changed
    for one in found.answers.examples:
        at = int(one.given.id)
        assert one.first.said == sides[0][at]['predicted'] and changed[at]
    sizes = [one.size for one in found.answers.examples]
    assert sizes == sorted(sizes, reverse=True)
    assert told == [(32, 40), (40, 40)]
    assert found.runs.paired.difference == 0 and found.runs.config == ()
    with pytest.raises(UserError, match='no file'):
        diff(registry, 'noise@1', 'noise@2', on=str(tmp_path / 'nowhere'))
    made = io.BytesIO()
    np.savez(made, x=np.array([Pickled()], object))
    (tmp_path / 'pickle.npz').write_bytes(made.getvalue())
    with pytest.raises(UserError, match='pickle'):
        diff(registry, 'noise@1', 'noise@2', on=str(tmp_path / 'pickle.npz'))


def test_text_and_page_say_what_differs_and_hold_no_foreign_markup(registry):
    found = diff(registry, 'noise@1', 'noise@3')
    text = '\n'.join(diff_text(found))
    assert 'train.steps' in text and '99' in text and "'head <b>'" in text
    assert 'no paired difference: the test sets differ' in text
    assert 'golden inputs of both' in text
    page = diff_page(found, 'python x.py', {'versions': {'jax': '1'}})
    assert 'the &lt;first&gt;' in page and '<first>' not in page and '<b>' not in page
    assert 'The test sets differ' in page
    for word in ('<script', 'http://', 'https://'):
        assert word not in page
    same = diff(registry, 'noise@1', 'noise@1')
    assert same.answers.changed == 0 and same.answers.n == 10
    assert '0 of 10 changed' in '\n'.join(diff_text(same))
    missing = dataclasses.replace(found, answers=None, unanswered='no <way>')
    assert 'no &lt;way&gt;' in diff_page(missing, '', {})
    assert run_differences({}, {}).metrics == ()


def test_texts_are_compared_as_texts(texts, tmp_path):
    registry = Registry(tmp_path / 'reg')
    publish(registry, texts.bundle, 'words')
    publish(registry, altered(texts.bundle, tmp_path / 'other', 1, by=5.0), 'words')
    found = diff(registry, 'words@1', 'words@2')
    assert found.answers.takes == 'texts' and found.answers.changed > 0
    page = diff_page(found, '', {})
    assert '<blockquote>' in page and '<img' not in page
    # A text that is the path of a file stays a text.
    (tmp_path / 'on.txt').write_text(f'text\n{tmp_path / "on.txt"}\n/etc/passwd\n')
    page = diff_page(diff(registry, 'words@1', 'words@2', on=str(tmp_path / 'on.txt')), '', {})
    assert 'root:' not in page and '<img' not in page


def test_lists_name_stages_metrics_and_damage(registry):
    lines = list(list_versions(registry, 'noise'))
    assert lines[0].split()[:2] == ['version', 'published']
    rows = {line.split()[0]: line for line in lines[1:4]}
    assert 'production' in rows['1'] and 'accuracy' in rows['1'] and 'the <first>' in rows['1']
    assert 'production' not in rows['2']
    assert lines[-1].split()[-2:] == [next(iter(registry.history('noise'))).who + ':', 'r']
    (models,) = itertools.islice(list_models(registry), 1, None)
    assert models.split() == ['noise', '3', '3', '–', '1']


def test_masks_differ_by_their_pixels():
    def answer(mask):
        png = base64.b64encode(indexed_png(np.array(mask, np.uint8), colours(3, ()))).decode()
        return {'predicted': ['a'], 'shares': {'a': 1.0}, 'mask': {'png': png}}

    one = answer([[0, 1], [2, 0]])
    assert size_of(one, one) == 0
    assert size_of(one, answer([[0, 2], [2, 0]])) == 0.25
    assert size_of(one, answer([[0, 1]])) == 1  # of another size
