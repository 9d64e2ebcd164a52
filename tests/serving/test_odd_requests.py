"""What is no input, or asks for more than is given, is refused: never half answered."""

import pathlib
import subprocess
import sys

import pytest
from absl import flags
from asgi_calls import call, post
from image_requests import SETTINGS, pictures, png, with_server

from ftjax import serving
from ftjax.cli.flag_parsing import words_apart
from ftjax.errors import UserError
from ftjax.export.finished_run import finished_files
from ftjax.serving.bundle.text_inputs import TextReader, check_not_blank
from ftjax.serving.server.serve_bundle import monitor_in

FORM = 'multipart/form-data; boundary=x7f3'


def fields(*named):
    edge, parts = b'--x7f3\r\n', b''
    for head, data in named:
        parts += edge + f'Content-Disposition: form-data; {head}'.encode() + b'\r\n\r\n'
        parts += data + b'\r\n'
    return parts + b'--x7f3--\r\n'


def test_parts_of_a_form_are_answered_or_refused_but_not_left_out(images):
    picture = ('name="image"; filename="a.png"', png(pictures(1)[0]))

    async def work(_, app):
        assert (await post(app, fields(picture, picture), kind=FORM))[0] == 200
        for head in ('name="nearest"', 'name="text"', 'name="image"'):
            status, answer = await post(app, fields(picture, (head, b'3')), kind=FORM)
            assert status == 422
            assert head.split('"')[1] in answer['error']['message']

    with_server(images, work)


def test_truth_among_pixels_is_no_one(images):
    async def work(_, app):
        for pixels in ([[1, True], [2, 3]], [[[1], [False]]]):
            assert (await post(app, {'inputs': [{'pixels': pixels}]}))[0] == 422
        assert (await post(app, {'inputs': [{'pixels': [[1, 0], [2, 3]]}], 'outputs': True}))[
            0
        ] == 200

    with_server(images, work)


def test_head_is_get_without_a_body_and_405_names_what_there_is(images):
    async def work(_, app):
        for path in ('/healthz', '/readyz', '/', '/metrics', '/v1/models'):
            status, headers, body = await call(app, path, method='HEAD')
            assert (status, body) == (200, b'')
            assert int(headers['content-length']) > 0
        status, headers, _ = await call(app, '/v1/predict', method='PUT')
        assert (status, headers['allow']) == (405, 'POST')

    with_server(images, work, SETTINGS)


def test_one_input_is_not_taken_for_a_list_of_its_parts(images, tmp_path):
    bundle, image = serving.load(images.bundle, goldens=False), pictures(1)[0]
    for one in (image[..., None], 'a text', b'bytes', {'a': 1}, 5, None):
        with pytest.raises(UserError, match='expected a list of inputs'):
            bundle.predict(one)
    with pytest.raises(UserError, match='no inputs'):
        bundle.predict([])
    with pytest.raises(UserError, match='a length of 32'):
        bundle.run({'images': image[None, ..., None]}, bucket=32)
    (tmp_path / 'a.png').write_bytes(png(image))
    assert bundle.predict([tmp_path / 'a.png']) == bundle.predict([image])
    assert len(bundle.predict(pictures(2))) == 2


@pytest.mark.parametrize('text', ['', '  ', '\n\t\u00a0'])
def test_a_blank_text_is_refused_as_where_data_are_read(text):
    with pytest.raises(UserError, match='not empty'):
        check_not_blank(text)


@pytest.mark.slow
def test_texts_and_pairs_are_those_that_were_trained_on(texts):
    bundle = serving.load(texts.bundle, goldens=False)
    reader = bundle.reader
    assert isinstance(reader, TextReader) and reader.pairs is False
    for raw in ('', ' ', ['one', 'two']):
        with pytest.raises(UserError, match='expected'):
            bundle.predict([raw])
    pairs = TextReader(reader.preprocessing, True)
    assert len(pairs.rows(['one', 'two']).rows) == 1
    for raw in ('one', ['one', ' ']):
        with pytest.raises(UserError, match='expected'):
            pairs.rows(raw)

    async def work(_, app):
        for body, kind, said in (
            (fields(('name="text"', b'one'), ('name="txt"', b'two')), FORM, "part 'txt'"),
            (fields(('name="text"', b'caf\xe9')), FORM, 'UTF-8'),
            (b'text=caf%E9', 'application/x-www-form-urlencoded', 'UTF-8'),
        ):
            status, answer = await post(app, body, kind=kind)
            assert status == 422 and said in answer['error']['message']
        good = fields(('name="text"', 'café'.encode()))
        assert (await post(app, good, kind=FORM))[0] == 200

    with_server(texts, work)


def test_values_of_flags_are_no_words_of_a_command():
    own = flags.FlagValues()
    flags.DEFINE_string('strange_name', None, '', flag_values=own)
    flags.FLAGS.append_flag_values(own)
    try:
        given = ['x.py', '--strange_name', 'digits', 'publish', '--strange_name=b', 'DIR']
        words, rest = words_apart(given)
        assert words == ['publish', 'DIR']
        assert rest == ['x.py', '--strange_name', 'digits', '--strange_name=b']
        assert words_apart(['x.py', 'list', '--', '-a']) == (['list', '-a'], ['x.py'])
        assert words_apart(['x.py', '--strange_name'])[1] == ['x.py', '--strange_name']
    finally:
        flags.FLAGS.remove_flag_values(own)


def test_what_holds_weights_and_no_run_is_not_called_unfinished(images):
    for folder in (images.bundle, images.run / 'model'):
        with pytest.raises(UserError, match='holds weights, and no run'):
            finished_files(folder)


@pytest.mark.parametrize('hours', [float('nan'), float('inf')])
def test_a_window_without_length_is_refused(tmp_path, hours):
    with pytest.raises(UserError, match='expected a number'):
        monitor_in(str(tmp_path), hours, 0)


@pytest.mark.slow
def test_a_flag_that_the_format_does_not_read_is_refused(images, tmp_path):
    script = pathlib.Path(__file__).resolve().parents[2] / 'scripts' / 'export.py'
    flags_given = [f'--workdir={images.run}', f'--output={tmp_path / "o"}', '--format=bundle']
    command = [sys.executable, str(script), *flags_given, '--adapters=peft']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (
        2,
        'error: --adapters is for --format=hf, not for --format=bundle\n',
    )
    assert not (tmp_path / 'o').exists()
