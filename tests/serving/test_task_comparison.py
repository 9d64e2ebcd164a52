"""Versions that answer with more than a class: compared by `diff`, or it is said why not."""

import base64
import io

import numpy as np
import pytest
import tiny_tasks
from altered_bundle import shaken
from PIL import Image

from ftjax.errors import UserError
from ftjax.serving.comparison.diff_page import diff_page
from ftjax.serving.comparison.diff_text import changed_told, diff_text
from ftjax.serving.comparison.version_diff import diff
from ftjax.serving.versions.publishing import publish
from ftjax.serving.versions.registry import Registry

pytestmark = pytest.mark.slow
KINDS = ('tags', 'masks', 'windows', 'vectors', 'cosine', 'choice', 'order', 'texts', 'values')
MADE = {}


@pytest.fixture(params=KINDS)
def made(request, tmp_path_factory):
    """A registry with a bundle, the same one again with other weights; and inputs as a file."""
    name = request.param
    if name not in MADE:
        folder = tmp_path_factory.mktemp(f'compared_{name}')
        bundle = getattr(tiny_tasks, name)(folder).bundle
        registry = Registry(folder / 'reg')
        publish(registry, bundle, name)
        publish(registry, shaken(bundle, folder / 'second'), name)
        MADE[name] = name, registry, folder
    return MADE[name]


def on_file(name, folder):
    """Inputs without labels, as scripts/predict.py takes them, and how many there are."""
    if name in ('masks', 'windows'):
        return str(folder / 'pictures' / 'test' / 'images'), 6
    if name == 'values':
        (folder / 'on.csv').write_text('age,town\n30,Ulm\n,Rom\n50,Bonn\n')
        return str(folder / 'on.csv'), 3
    if name in ('tags', 'vectors', 'texts'):
        (folder / 'on.txt').write_text('text\nred blue\nblack white pink\ngrey\n')
        return str(folder / 'on.txt'), 3
    return '', 0


def test_goldens_and_files_are_compared_or_it_is_said_why_not(made):
    name, registry, folder = made
    found = diff(registry, f'{name}@1', f'{name}@2')
    text, page = '\n'.join(diff_text(found)), diff_page(found, '', {})
    if name in ('masks', 'windows'):
        assert found.answers is None
        assert 'goldens are arrays' in found.unanswered and '--on' in found.unanswered
        assert 'answers were not compared: goldens are arrays' in text
        assert 'goldens are arrays' in page
    else:
        count = found.answers.n
        assert count >= 8 and found.answers.failed == 0
        assert 0 < found.answers.changed <= count
        assert f'{found.answers.changed} of {count} changed' in text
        assert found.answers.examples and '<blockquote>' in page
    source, count = on_file(name, folder)
    if not source:
        return
    files = diff(registry, f'{name}@1', f'{name}@2', on=source)
    assert (files.answers.n, files.answers.failed) == (count, 0)
    assert files.answers.changed > 0
    assert ('<img' in diff_page(files, '', {})) == (name in ('masks', 'windows'))
    same = diff(registry, f'{name}@1', f'{name}@1', on=source)
    assert (same.answers.changed, same.answers.mean_size) == (0, 0.0)


def test_the_size_of_a_change_of_masks_is_the_share_of_their_pixels(made):
    name, registry, folder = made
    if name not in ('masks', 'windows'):
        pytest.skip('answers are no masks')
    source, _ = on_file(name, folder)
    found = diff(registry, f'{name}@1', f'{name}@2', on=source).answers
    shares = []
    for path in sorted((folder / 'pictures' / 'test' / 'images').iterdir()):
        sides = [registry.load(f'{name}@{n}').predict([path.read_bytes()])[0] for n in (1, 2)]
        one, other = (Image.open(io.BytesIO(base64.b64decode(s['mask']['png']))) for s in sides)
        shares.append((np.asarray(one) != np.asarray(other)).mean())
    assert found.mean_size == pytest.approx(np.mean(shares))
    assert [each.size for each in found.examples] == pytest.approx(sorted(shares, reverse=True))
    assert 'share of the pixels that changed' in changed_told(found)


def test_bundles_of_two_kinds_are_not_compared_by_their_answers(made, texts, images):
    name, registry, folder = made
    other, bundle = ('words', texts.bundle) if name == 'masks' else ('noise', images.bundle)
    if name == 'tags':
        other, bundle = 'words', texts.bundle  # both take texts
    publish(registry, bundle, other)
    found = diff(registry, f'{name}@1', f'{other}@1')
    assert found.answers is None and 'do not' in found.unanswered
    source, _ = on_file(name, folder)
    if source:
        with pytest.raises(UserError, match='do not'):
            diff(registry, f'{name}@1', f'{other}@1', on=source)
