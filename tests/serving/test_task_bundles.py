"""Bundles of tasks that answer with more than a class: bits of an evaluation, answers of predict,
over HTTP as well, and what is no input of theirs."""

import asyncio
import base64
import html
import importlib.util
import io
import pathlib
import shlex
import types

import numpy as np
import pytest
import tiny_tasks
from asgi_calls import call, post, running
from PIL import Image

from ftjax import serving
from ftjax.config import read_config
from ftjax.data.load import load_data
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.io.files.atomic import read_json
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.mask_files import write_masks
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.bundle.reference import read_reference
from ftjax.serving.making.bundle_inputs import arrays_of, batches_of
from ftjax.serving.making.proof import raw_of
from ftjax.serving.making.refresh import refresh
from ftjax.serving.making.write_bundle import served_form
from ftjax.serving.server.api_page import curl_of, example_of
from ftjax.serving.server.http_app import guarded_app
from ftjax.serving.server.server_settings import ServerSettings
from ftjax.serving.server.service import Service
from ftjax.tasks import task_of

needed = ('fastapi', 'uvicorn', 'prometheus_client', 'orjson', 'multipart')
server_needed = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in needed), reason='needs the extra serve'
)
MADE = {}


def of_name(request, tmp_path_factory):
    """A run and its bundle, made once."""
    name = request.param
    if name not in MADE:
        MADE[name] = getattr(tiny_tasks, name)(tmp_path_factory.mktemp(name))
        MADE[name].name = name
    return MADE[name]


DEAR = [
    pytest.param(name, marks=pytest.mark.slow) for name in ('choice', 'vectors', 'cosine', 'order')
]
ROWS = ('tags', 'masks', *DEAR)
"""Where an evaluation's batches are what the program takes."""
WINDOWS = pytest.param('windows', marks=pytest.mark.slow)
evaluated = pytest.fixture(of_name, params=ROWS)
dense = pytest.fixture(of_name, params=('masks', WINDOWS))
made = pytest.fixture(of_name, params=(*ROWS, WINDOWS))


def split_of(made):
    return load_data(read_config(read_json(made.run / 'config.json')).data).test


def as_rows(arrays):
    """Several texts or windows of an example as rows of their own."""
    if 'images' in arrays:
        return arrays
    return {name: array.reshape(-1, array.shape[-1]) for name, array in arrays.items()}


def test_metrics_and_outputs_are_those_of_evaluate_bit_for_bit(evaluated):
    trained, bundle = open_trained(str(evaluated.run)), serving.load(evaluated.bundle)
    test, served = split_of(evaluated), []
    batches = batches_of(trained, test)
    for outputs, batch in predict(trained.network, trained.placed, batches, trained.preprocessing):
        arrays = as_rows(arrays_of(batch['inputs']))
        bucket = arrays['input_ids'].shape[1] if 'input_ids' in arrays else None
        found = bundle.run(arrays, bucket=bucket).outputs.reshape(outputs.shape)
        np.testing.assert_array_equal(found, outputs)
        served.append((found, batch))
    metrics = task_of(test.task).measure(iter(served), trained.class_names)
    told = read_json(evaluated.run / 'result.json')['metrics']
    numbers = {name: value for name, value in metrics.items() if isinstance(value, float)}
    assert len(numbers) > 1 and numbers == {name: told[name] for name in numbers}


def raw_inputs(made, count=16):
    """Some of the test split as a bundle takes it."""
    test, form = split_of(made), serving.load(made.bundle, goldens=False).form
    count = min(count, len(test))
    if test.kind == 'image_file':
        return [pathlib.Path(path).read_bytes() for path in test.inputs[:count]]
    return [raw_of(test, index, form) for index in range(count)]


def same_tags(mine, row):
    assert ' '.join(mine['predicted']) == row['predicted']
    told = [f'{s["type"]}[{s["first"]}:{s["last"]}] {s["text"]}' for s in mine['spans']]
    assert '|'.join(told) == row['spans']


def same_shares(mine, row):
    assert '|'.join(mine['predicted']) == row['predicted']
    shares = {f'share:{name}': share for name, share in mine['shares'].items()}
    assert shares == {name: row[name] for name in row if name.startswith('share:')}


def same_choice(mine, row):
    assert (mine['predicted'], mine['probability']) == (row['predicted'], row['probability'])


def same_order(mine, row):
    places = [int(place) for place in row['predicted'].split()]
    assert mine['predicted'] == [place for place in places if place < len(mine['scores'])]


def same_vector(mine, row):
    """Its rows are of one text; those of predict of two, so that the last bits may differ."""
    own = [row[f'text1_{place}'] for place in range(len(mine['vector']))]
    np.testing.assert_allclose(mine['vector'], own, atol=1e-6)


def same_cosine(mine, row):
    assert mine['predicted'] == row['predicted']


SAME = {'tags': same_tags, 'masks': same_shares, 'choice': same_choice, 'order': same_order}
SAME |= {'vectors': same_vector, 'cosine': same_cosine}
"""What it is for an answer of a bundle to be that of a row of predict."""


def test_answers_are_those_of_predict(evaluated):
    trained, raw = open_trained(str(evaluated.run)), raw_inputs(evaluated)
    inputs = list(split_of(evaluated).inputs[: len(raw)])
    rows = answers_to(trained, inputs, {}, batch_size=len(raw)).rows
    for mine, row in zip(serving.load(evaluated.bundle).predict(raw), rows, strict=True):
        SAME[evaluated.name](mine, row)


def test_masks_are_those_of_predict(dense, tmp_path):
    trained, raw, files = open_trained(str(dense.run)), raw_inputs(dense), split_of(dense).inputs
    bundle = serving.load(dense.bundle, goldens=False)
    source = str(pathlib.Path(files[0]).parent)
    done = write_masks(trained, source, tmp_path / 'masks', progress=False)
    assert done.rows == len(raw)
    for path, given in zip(files, raw, strict=True):
        (answer,) = bundle.predict([given])
        png = io.BytesIO(base64.b64decode(answer['mask']['png']))
        with (
            Image.open(png) as mine,
            Image.open(tmp_path / 'masks' / pathlib.Path(path).name) as other,
        ):
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(other))
            assert mine.getpalette() == other.getpalette()
            assert list(mine.size[::-1]) == answer['mask']['size']
        assert sum(answer['shares'].values()) == pytest.approx(1)


def test_reference_and_refresh(made, tmp_path):
    bundle = serving.load(made.bundle, goldens=False)
    reference = read_reference(made.bundle, bundle.signature)
    assert reference.histogram.sum() == reference.count > 1
    assert bundle.manifest['version'] == 2
    new = serving.load(refresh(made.bundle, tmp_path / 'new'))
    assert new.signature == bundle.signature


def sent(raw):
    """An input as JSON has it."""
    return {'image': base64.b64encode(raw).decode()} if isinstance(raw, bytes) else raw


def picture(rows, columns):
    """A grey PNG of this size, which packs well."""
    made = io.BytesIO()
    Image.new('L', (columns, rows)).save(made, 'png')
    return made.getvalue()


SETTINGS = ServerSettings(
    batch_sizes=(1, 8), latency_ms=1, max_inputs=16, max_characters=5000, queue=64
)
POISON = {
    'tags': [
        (7, 422, 'expected a text'),
        ([], 422, 'no words'),
        ('', 422, 'no words'),
        (['a', 7], 422, 'is no word'),
        ([['a']], 422, 'is no word'),
        ({'words': ['a']}, 422, 'expected a text'),
        (None, 422, 'expected a text'),
        (['a' * 6000], 413, '6000 characters'),
        (['a'] * 2000, 413, 'rows of the network'),
        ([''] * 6000, 413, '6000 characters'),
        ('\ud800', 422, 'input'),
    ],
    'vectors': [
        (['a', 'b'], 422, 'expected a text'),
        ({'text': 'a'}, 422, 'expected a text'),
        (1.5, 422, 'expected a text'),
        ('a' * 6000, 413, '6000 characters'),
    ],
    'cosine': [
        ('a', 422, 'a list of 2 texts'),
        (['a', 'b', 'c'], 422, 'a list of 2 texts'),
        (['a', None], 422, 'a list of 2 texts'),
        (['a' * 3000, 'b' * 3000], 413, '6000 characters'),
    ],
    'choice': [
        ('a', 422, 'choices'),
        (['a', 'b'], 422, '2 or more texts'),
        (['a', 'b', ''], 422, '2 or more texts'),
        ({'prompt': 'a', 'choices': 'bc'}, 422, 'choices'),
        ({'prompt': 'a', 'choices': [1, 2]}, 422, 'choices'),
        ({'prompt': 'a', 'choices': ['b', 'c'], 'more': 1}, 422, 'choices'),
        ({'choices': ['b', 'c']}, 422, 'choices'),
        (['a'] * 200, 413, 'rows of the network'),
    ],
    'order': [
        ('a', 422, 'candidates'),
        (['a'], 422, '1 or more texts'),
        ({'query': 'a', 'candidates': [[]]}, 422, 'candidates'),
        (['a'] * 200, 413, 'rows of the network'),
    ],
    'masks': [
        ('a text', 422, 'expected'),
        ({'image': 'AAAA'}, 422, 'broken image'),
        ({'pixels': [[0.5]]}, 422, 'whole numbers'),
        (sent(picture(5000, 5000)), 422, 'at most'),
        (sent(picture(8, 8)[:40]), 422, 'broken image'),
    ],
    'windows': [
        (sent(picture(300, 300)), 413, 'rows of the network'),
        (sent(picture(5000, 5000)), 422, 'at most'),
        ({'pixels': [[300]]}, 422, 'whole numbers'),
    ],
}


@server_needed
def test_the_server_answers_as_the_bundle_and_refuses_what_is_no_input(made):
    raw = raw_inputs(made)
    expected = serving.load(made.bundle, goldens=False).predict(raw)
    inputs = [sent(each) for each in raw]

    async def work():
        service = Service(serving.load(made.bundle, goldens=False), SETTINGS)
        app = guarded_app(service)
        async with running(service):
            status, answer = await post(app, {'inputs': inputs, 'nearest': 2, 'outputs': True})
            assert status == 200, answer
            for given, row in zip(answer['predictions'], expected, strict=True):
                assert len(given.pop('nearest')) == 2
                assert given.pop('outputs')
                alike(given, row)
            example = example_of(service.bundle, service.goldens.raw, service.goldens.inputs)
            pasted = shlex.split(curl_of('http://h/', example, token=False))[-1]
            assert (await post(app, pasted.encode()))[0] == 200
            status, _, page = await call(app, '/docs')
            assert status == 200 and service.bundle.form.asks in html.unescape(page.decode())
            for poison, wanted, said in POISON[made.name]:
                status, answer = await post(app, {'inputs': [inputs[0], poison]})
                assert (status, said in str(answer)) == (wanted, True), (str(poison)[:80], answer)
                status, answer = await post(app, {'inputs': inputs[:1]})
                assert status == 200
            assert service.batcher.pending == 0

    asyncio.run(work())


def alike(given, row):
    """Equal, but for the last bits of numbers: batches are of other sizes."""
    assert set(given) == set(row)
    for name, value in row.items():
        first = value[0] if isinstance(value, list) and value else None
        if isinstance(value, float) or isinstance(first, float):
            np.testing.assert_allclose(given[name], value, atol=1e-5)
        elif isinstance(first, dict):
            for mine, other in zip(given[name], value, strict=True):
                alike(mine, other)
        elif isinstance(value, dict):
            alike(given[name], value)
        else:
            assert given[name] == value


def test_a_task_without_an_answer_is_refused():
    hidden = types.SimpleNamespace(task=task_of('masked_tokens'))
    for refused in (hidden.task.check_answers, lambda: served_form(hidden)):
        with pytest.raises(UserError, match='no answer to a whole one; train it on for a task'):
            refused()
