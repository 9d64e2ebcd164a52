"""A bundle that writes texts: tokens of scripts/generate.py, whatever else is in the batch."""

import asyncio
import dataclasses
import importlib.util
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny_tasks
from asgi_calls import post, running

from ftjax import serving
from ftjax.errors import UserError
from ftjax.evaluation.generation.generated_texts import generated, prompt_ids
from ftjax.evaluation.generation.sampling import Sampling
from ftjax.evaluation.generation.sampling_arrays import SamplingArrays
from ftjax.evaluation.generation.text_match import generation_metrics
from ftjax.runs.prediction.generating import answers_of, read_prompts
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.bundle.prompt_inputs import PromptReader
from ftjax.serving.making.onnx_folder import write_onnx
from ftjax.serving.making.refresh import refresh
from ftjax.serving.making.stablehlo import write_stablehlo
from ftjax.serving.making.write_bundle import write_bundle
from ftjax.serving.server.api_page import example_of
from ftjax.serving.server.http_app import guarded_app
from ftjax.serving.server.server_settings import ServerSettings
from ftjax.serving.server.service import Service

needed = ('fastapi', 'uvicorn', 'prometheus_client', 'orjson', 'multipart')
DRAWN = (
    {'temperature': 1.0, 'seed': 3},
    {'temperature': 0.7, 'seed': 4, 'top_k': 5},
    {'temperature': 1.3, 'seed': 5, 'top_p': 0.6},
    {'temperature': 1.0, 'seed': 2**31 - 1, 'top_k': 9, 'top_p': 0.9},
    {},
)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A tiny decoder that completes prompts, and its bundle of 8 new tokens."""
    return tiny_tasks.texts(tmp_path_factory.mktemp('texts'))


def sampling_of(how):
    """What is said of sampling."""
    return {name: value for name, value in how.items() if name != 'seed'}


def test_sampling_of_arrays_leaves_out_what_sampling_does():
    logits = jax.random.normal(jax.random.key(0), (5, 40)) * 3
    given = [
        {'top_k': 0, 'top_p': 1.0, **{k: v for k, v in d.items() if k != 'seed'}} for d in DRAWN
    ]
    arrays = {
        name: np.array([each.get(name, 0) for each in given], kind)
        for name, kind in (('temperature', np.float32), ('top_k', np.int32), ('top_p', np.float32))
    }
    keys = jax.random.split(jax.random.key(1), 5)
    mine = SamplingArrays(**arrays)
    kept, chosen = mine.kept(logits), mine.chosen(logits, keys)
    for row, each in enumerate(given):
        sampling, own = Sampling(**each), slice(row, row + 1)
        assert int(chosen[row]) == int(sampling.chosen(logits[own], keys[own])[0])
        if sampling.temperature:
            np.testing.assert_array_equal(kept[row], sampling.kept(logits[own])[0])


def test_greedy_texts_and_their_metrics_are_those_of_generate(made):
    trained, bundle = open_trained(str(made.run)), serving.load(made.bundle)
    prompts = read_prompts(trained, 'test')
    rows, metrics = answers_of(
        trained, prompts, sampling=Sampling(), new_tokens=8, batch_size=len(prompts), progress=False
    )
    found = bundle.predict([prompt.text for prompt in prompts])
    assert [row['answer'] for row in rows] == [each['text'] for each in found]
    references = [prompt.reference for prompt in prompts]
    assert metrics == generation_metrics([each['text'] for each in found], references)
    assert all(each['tokens'] <= 8 and each['ended'] == (each['tokens'] < 8) for each in found)


@pytest.mark.slow
def test_drawn_texts_are_those_of_generate_in_one_batch_of_many_ways(made):
    trained, bundle = open_trained(str(made.run)), serving.load(made.bundle, goldens=False)
    raw = [{'prompt': 'red blue is', **each} for each in DRAWN]
    found = [each['text'] for each in bundle.predict(raw)]
    assert len(set(found)) > 2
    for text, how in zip(found, DRAWN, strict=True):
        sampling = Sampling(**sampling_of(how))
        (own,) = generated(
            *(trained.network, trained.variables, ['red blue is'], trained.preprocessing),
            new_tokens=8,
            sampling=sampling,
            batch_size=1,
            seed=how.get('seed', 0),
        )
        assert text == own


@pytest.mark.slow
def test_fewer_tokens_are_the_first_ones(made):
    bundle = serving.load(made.bundle, goldens=False)
    raw = [{'prompt': 'red is', 'max_tokens': count, 'temperature': 1.0} for count in (2, 8)]
    rows = bundle.reader.stacked([bundle.reader.rows(each).rows[0] for each in raw])
    short, long = bundle.run(rows).tokens
    np.testing.assert_array_equal(short[:2], long[:2])
    assert (short[2:] == bundle.signature.details['pad_id']).all()


@pytest.mark.slow
def test_goldens_are_first_logits_and_a_refreshed_bundle_gives_the_same(made, tmp_path):
    bundle = serving.load(refresh(made.bundle, tmp_path / 'new'))
    goldens = read_goldens(bundle.folder)
    assert goldens.outputs.shape == (len(goldens.ids), 300)
    assert np.ptp(goldens.outputs) > 0
    (row,) = bundle.predict(goldens.raw[:1])
    assert row == serving.load(made.bundle, goldens=False).predict(goldens.raw[:1])[0]


def test_messages_are_written_by_the_chat_template(made):
    trained, bundle = open_trained(str(made.run)), serving.load(made.bundle, goldens=False)
    messages = [{'role': 'user', 'content': 'red'}]
    with pytest.raises(UserError, match='no chat template'):
        bundle.reader.rows({'messages': messages})
    template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %} so: "
    spoken = dataclasses.replace(bundle.reader.preprocessing, chat_template=template)
    reader = PromptReader(spoken, 8)
    ids = prompt_ids(trained.network, ['user: red so: '], spoken, 8, written=True)[0]
    assert reader.rows({'messages': messages}).rows[0]['input_ids'].tolist() == ids
    for wrong in ('red', [], [{'role': 'user'}], [7], {'role': 'user', 'content': 'red'}):
        with pytest.raises(UserError, match='message'):
            reader.rows({'messages': wrong})


def test_more_tokens_than_there_is_room_for_are_refused(made, tmp_path):
    with pytest.raises(UserError, match=r'texts of 32 tokens: no room for 17 new ones.*--new_tok'):
        write_bundle(made.run, tmp_path / 'none', new_tokens=17)
    assert not (tmp_path / 'none').exists()


POISON = (
    (7, 'a text, or an object'),
    ('', 'no token'),
    ({'prompt': ''}, 'no token'),
    ({'prompt': ['a']}, 'prompt'),
    ({'prompt': 'a', 'messages': []}, 'either prompt or messages'),
    ({'prompt': 'a', 'max_tokens': 9}, 'max_tokens'),
    ({'prompt': 'a', 'max_tokens': 0}, 'max_tokens'),
    ({'prompt': 'a', 'max_tokens': True}, 'max_tokens'),
    ({'prompt': 'a', 'temperature': -1}, 'temperature'),
    ({'prompt': 'a', 'temperature': '1'}, 'temperature'),
    ({'prompt': 'a', 'top_p': 0}, 'top_p'),
    ({'prompt': 'a', 'seed': 2**31}, 'seed'),
    ({'prompt': 'a', 'tempature': 1}, "did you mean 'temperature'"),
    ('red ' * 100, 'expected at most 16'),
    ('\ud800', 'lone surrogate'),
)


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in needed), reason='needs the extra serve'
)
def test_the_server_writes_and_refuses_what_is_no_prompt(made):
    raw = ['red is', {'prompt': 'blue', 'temperature': 1.0, 'seed': 7, 'max_tokens': 4}]
    expected = serving.load(made.bundle, goldens=False).predict(raw)

    async def work():
        settings = ServerSettings(batch_sizes=(1, 4), latency_ms=1, max_inputs=8)
        service = Service(serving.load(made.bundle, goldens=False), settings)
        app = guarded_app(service)
        async with running(service):
            status, answer = await post(app, {'inputs': raw, 'nearest': 1})
            given = answer['predictions']
            assert all(row.pop('nearest') for row in given)
            assert (status, given) == (200, expected)
            example = example_of(service.bundle, service.goldens.raw, service.goldens.inputs)
            assert (await post(app, example))[0] == 200
            for poison, said in POISON:
                status, answer = await post(app, {'inputs': [raw[0], poison]})
                assert (status, said in str(answer)) == (422, True), (poison, answer)
                assert (await post(app, {'inputs': raw}))[0] == 200
            status, _ = await post(app, {'inputs': ['a' * 200_000]})
            assert status == 413

    asyncio.run(work())


def test_other_formats_write_a_program_or_say_why_not(made, tmp_path):
    folder = write_stablehlo(made.run, tmp_path / 'hlo', new_tokens=4)
    told = json.loads((folder / 'program_16.arguments.json').read_text())
    assert [row['name'] for row in told['results']] == ['features', 'outputs', 'tokens']
    assert told['results'][-1]['shape'] == ['batch', 4]
    with pytest.raises(UserError, match='jax2onnx does not convert'):
        write_onnx(made.run, tmp_path / 'onnx', tmp_path / 'convert_bundle.py')
    assert not (tmp_path / 'onnx').exists()


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('flax', 'optax', 'orbax', 'absl', 'ml_collections'):
            raise ImportError(name + ' is blocked')

sys.meta_path.insert(0, Blocked())
from ftjax import serving

print(serving.load({bundle!r}).predict(['red is'])[0]['text'], end='')
"""


@pytest.mark.slow
def test_it_writes_without_flax(made):
    code = BLOCKED.format(bundle=str(made.bundle))
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    (row,) = serving.load(made.bundle, goldens=False).predict(['red is'])
    assert (done.returncode, done.stdout) == (0, row['text']), done.stderr


@pytest.mark.slow
def test_weights_that_are_no_numbers_give_an_error_and_no_text(made):
    bundle = serving.load(made.bundle, goldens=False)
    bundle.weights = {name: value * np.nan for name, value in bundle.weights.items()}
    with pytest.raises(UserError, match='no finite number'):
        bundle.predict(['red is'])
