"""The page to try a server by hand, in a real browser, for every form of answers."""

import base64
import contextlib
import importlib.util
import io
import json
import threading
import time

import numpy as np
import pytest
import tiny_tasks
from browser import BROWSER, Page
from PIL import Image

from ftjax import serving
from ftjax.serving.server.server_settings import ServerSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason='needs Chromium on the path'),
    pytest.mark.skipif(not importlib.util.find_spec('uvicorn'), reason='needs the extra serve'),
]


@contextlib.contextmanager
def shown(bundle, profile, **settings):
    """(page of a server of the bundle, the bundle)."""
    import uvicorn

    from ftjax.serving.server.http_app import guarded_app
    from ftjax.serving.server.service import Service

    loaded = serving.load(bundle, goldens=False)
    service = Service(loaded, ServerSettings(batch_sizes=(1, 4), **settings))
    server = uvicorn.Server(uvicorn.Config(guarded_app(service), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not (server.started and service.ready):
            assert thread.is_alive() and not service.failed, service.failed
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        with Page(profile) as page:
            page.open(f'http://127.0.0.1:{port}/')
            yield page, loaded
            assert page.violations == []
    finally:
        server.should_exit = True
        thread.join()


def asked(page, text=None, field='text'):
    """(what is told, rows of the answer, rows of the nearest examples) after a click."""
    if text is not None:
        page.run(f'document.getElementById({field!r}).value = {json.dumps(text)}')
    page.run('document.querySelector("button").click()')
    page.until('!document.querySelector("button").disabled')
    return tuple(
        page.run(script)
        for script in (
            'document.getElementById("told").textContent',
            *(
                f'[...document.getElementById("{name}").rows].map(row => '
                '[...row.cells].map(cell => cell.textContent))'
                for name in ('answer', 'nearest')
            ),
        )
    )


def percent(share):
    return f' {100 * share:.2f} %'


def ready(page, kind):
    """The field of this kind alone is there."""
    page.until('document.getElementById("told").textContent.includes("version")')
    for name in ('images', 'texts', 'table'):
        hidden = page.run(f'document.getElementById("{name}").hidden')
        assert hidden == (name != kind), name


@pytest.fixture
def made(request, tmp_path):
    return getattr(tiny_tasks, request.param)(tmp_path).bundle


def test_classes_of_an_image_and_what_is_no_image(images, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_text('no image')
    with shown(images.bundle, tmp_path / 'profile') as (page, bundle):
        ready(page, 'images')
        told, rows, nearest = asked(page)
        assert (told, rows, nearest) == ('choose an image first', [], [])
        page.choose('#file', tmp_path / 'a.png')
        told, rows, nearest = asked(page)
        (answer,) = bundle.predict([(tmp_path / 'a.png').read_bytes()])
        assert told == f'predicted: {answer["predicted"]}'
        best = sorted(answer['probabilities'].items(), key=lambda item: -item[1])
        assert rows == [['class', 'probability'], *([n, percent(p)] for n, p in best)]
        assert len(nearest) == 1 + 5
        page.choose('#file', tmp_path / 'b.png')
        told, rows, nearest = asked(page)
        assert 'broken image' in told
        assert (rows, nearest) == ([], [])  # nothing is left of the answer before


def test_the_token_is_asked_for_and_sent(images, tmp_path):
    with shown(images.bundle, tmp_path / 'profile', token='0123456789abcdef') as (page, _):
        page.until('document.getElementById("told").textContent.includes("Bearer")')
        page.run('document.getElementById("token").value = "0123456789abcdef"')
        page.run('document.getElementById("token").dispatchEvent(new Event("change"))')
        ready(page, 'images')


@pytest.mark.parametrize('made', ['tags'], indirect=True)
def test_tags_of_words_and_their_spans(made, tmp_path):
    with shown(made, tmp_path / 'profile') as (page, bundle):
        ready(page, 'texts')
        told, rows, nearest = asked(page, 'red black blue')
        (answer,) = bundle.predict(['red black blue'])
        spans = '; '.join(f'{one["type"]}: {one["text"]}' for one in answer['spans'])
        assert told == (spans or 'no spans')
        expected = zip(answer['words'], answer['predicted'], answer['probability'], strict=True)
        assert rows[1:] == [[word, tag, percent(p)] for word, tag, p in expected]
        assert rows[0] == ['word', 'tag', 'probability'] and len(nearest) == 6
        markup = '<b>red</b> <img src=x onerror=alert(1)>'
        _, rows, _ = asked(page, markup)
        assert [row[0] for row in rows[1:]] == markup.split()
        assert page.run('document.querySelectorAll("#answer b, #answer img").length') == 0


@pytest.mark.parametrize('made', ['masks'], indirect=True)
def test_masks_are_drawn_over_the_image(made, tmp_path):
    Image.fromarray(np.full((20, 24, 3), 200, np.uint8)).save(tmp_path / 'a.png')
    data = (tmp_path / 'a.png').read_bytes()
    with shown(made, tmp_path / 'profile') as (page, bundle):
        ready(page, 'images')
        page.choose('#file', tmp_path / 'a.png')
        told, rows, _ = asked(page)
        (answer,) = bundle.predict([data])
        assert told == f'predicted: {", ".join(answer["predicted"])}'
        shares = [[name, percent(share)] for name, share in answer['shares'].items()]
        assert rows == [['class', 'share of the image'], *shares]
        canvas = 'document.getElementById("picture")'
        assert page.run(f'[{canvas}.width, {canvas}.height]') == [24, 20]
        drawn = page.run(f'[...{canvas}.getContext("2d").getImageData(0, 0, 24, 20).data]')
        mask = decoded(answer['mask']['png'])
        expected = 0.45 * 200 + 0.55 * mask.astype(float)
        np.testing.assert_allclose(np.reshape(drawn, (20, 24, 4))[..., :3], expected, atol=2)


def decoded(png):
    """The colours of a mask, (rows, columns, 3)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB'))


@pytest.mark.parametrize('made', ['texts'], indirect=True)
def test_a_text_that_is_written_follows_its_beginning(made, tmp_path):
    with shown(made, tmp_path / 'profile') as (page, bundle):
        ready(page, 'texts')
        told, rows, _ = asked(page, 'red is\n <b>')
        (answer,) = bundle.predict(['red is\n <b>'])
        assert told == 'red is\n <b>' + answer['text']
        assert rows == []
        assert page.run('getComputedStyle(document.getElementById("told")).whiteSpace')[:3] == 'pre'


@pytest.mark.parametrize('made', ['vectors'], indirect=True)
def test_a_vector_is_shown_by_its_first_numbers(made, tmp_path):
    with shown(made, tmp_path / 'profile') as (page, bundle):
        ready(page, 'texts')
        told, rows, nearest = asked(page, 'red')
        (answer,) = bundle.predict(['red'])
        assert told == f'a vector of {len(answer["vector"])} numbers'
        numbers = [float(number) for _, number in rows[1:]]
        np.testing.assert_allclose(numbers, answer['vector'][:20], atol=6e-5)
        assert len(nearest) == 6


@pytest.mark.parametrize('made', ['cosine', 'choice', 'order'], indirect=True)
def test_several_texts_are_lines(made, tmp_path):
    lines = ['red blue', 'green', 'red']
    with shown(made, tmp_path / 'profile') as (page, bundle):
        ready(page, 'texts')
        assert page.run('document.getElementById("lines").textContent') == bundle.form.lines
        if bundle.signature.answer == 'cosine':
            lines = lines[:2]
        told, rows, _ = asked(page, '\n\n'.join(lines) + '\n')
        (answer,) = bundle.predict([lines])
        if bundle.signature.answer == 'cosine':
            assert float(told.removeprefix('predicted: ')) == pytest.approx(answer['predicted'])
            assert rows == []
        elif bundle.signature.answer == 'choice':
            assert told == f'predicted: {lines[1 + answer["predicted"]]}'
            shares = zip(lines[1:], answer['choices'], strict=True)
            assert rows[1:] == [[text, percent(share)] for text, share in shares]
        else:
            assert [row[0] for row in rows[1:]] == [lines[1 + at] for at in answer['predicted']]
        told, rows, _ = asked(page, 'one line')
        assert 'expected' in told and rows == []


@pytest.mark.parametrize('made', ['values'], indirect=True)
def test_a_row_of_a_table_stands_there_as_an_example(made, tmp_path):
    with shown(made, tmp_path / 'profile') as (page, bundle):
        ready(page, 'table')
        page.until('document.getElementById("row").value.includes("town")')
        told, rows, nearest = asked(page)
        given = json.loads(page.run('document.getElementById("row").value'))
        (answer,) = bundle.predict([given])
        assert float(told.removeprefix('predicted: ')) == pytest.approx(answer['predicted'])
        assert rows == [] and len(nearest) == 6
        assert not any('%' in cell for row in nearest for cell in row)
        told, rows, _ = asked(page, '{"age": }', field='row')
        assert 'JSON' in told
