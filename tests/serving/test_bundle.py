"""Bundles: bits as in an evaluation, without flax, refreshed, and what they take of a network."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from ftjax import serving
from ftjax.api import finetune
from ftjax.config import read_config
from ftjax.data.load import load_data
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.io.files.atomic import read_json, write_json
from ftjax.leaves import flatten
from ftjax.models.registry import build
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.calibration_file import save_calibration
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.bundle.answer_forms.class_answers import told_outputs
from ftjax.serving.bundle.answer_rows import answer_rows
from ftjax.serving.bundle.exported_programs import outside_calls
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.bundle.reference import check_monitored, measure, read_reference
from ftjax.serving.bundle.run_facts import read_run_facts, write_run_facts
from ftjax.serving.bundle.signature import InputArray, Signature
from ftjax.serving.making.bundle_inputs import arrays_of, batches_of
from ftjax.serving.making.refresh import refresh
from ftjax.serving.making.trace import Served, trace
from ftjax.serving.making.write_bundle import write_bundle
from ftjax.tasks import task_of

VIT = {'name': 'vit', 'image_size': 8, 'patch_size': 4, 'width': 16, 'heads': 2, 'depth': 2}
VIT |= {'channels': 1, 'mlp_dim': 16}
KINDS = ('images', pytest.param('texts', marks=pytest.mark.slow))


@pytest.fixture(params=KINDS)
def made(request):
    """A run and its bundle, of each kind."""
    return request.getfixturevalue(request.param)


def test_metrics_and_outputs_are_those_of_evaluate_bit_for_bit(made):
    trained, bundle = open_trained(str(made.run)), serving.load(made.bundle, goldens=False)
    test = load_data(read_config(read_json(made.run / 'config.json')).data).test
    own = list(
        predict(
            *(trained.network, trained.placed, batches_of(trained, test), trained.preprocessing)
        )
    )
    served = [(bundle.run(arrays_of(batch['inputs'])).outputs, batch) for _, batch in own]
    for (outputs, _), (mine, _) in zip(own, served, strict=True):
        np.testing.assert_array_equal(outputs, mine)
    task = task_of(test.task)
    metrics = task.measure(iter(served), trained.class_names, trained.threshold)
    assert metrics['accuracy'] == read_json(made.run / 'result.json')['metrics']['accuracy']


def test_answers_are_those_of_predict(made):
    trained, bundle = open_trained(str(made.run)), serving.load(made.bundle)
    goldens = read_goldens(made.bundle)
    raw = list(goldens.raw) or list(goldens.inputs['images'])
    expected = answers_to(trained, raw, {}, batch_size=len(raw)).rows
    for mine, row in zip(bundle.predict(raw), expected, strict=True):
        assert mine['predicted'] == row['predicted']
        assert mine['probability'] == row['probability']
        for name, value in mine['probabilities'].items():
            assert value == row[f'p:{name}']


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ImportError(name + ' is blocked')

sys.meta_path.insert(0, Blocked())
import json, numpy as np
from ftjax import serving
from ftjax.serving.bundle.goldens import read_goldens

bundle = serving.load({bundle!r})
goldens = read_goldens(bundle.folder)
found = bundle.run(goldens.inputs)
print(json.dumps(np.array_equal(found.outputs, goldens.outputs)))
"""


def test_it_loads_with_jax_numpy_and_flatbuffers_alone(images):
    blocked = ['flax', 'optax', 'orbax', 'absl', 'ml_collections', 'sklearn', 'safetensors']
    blocked += ['rich', 'tokenizers', 'PIL', 'matplotlib', 'grain', 'huggingface_hub', 'pandas']
    code = BLOCKED.format(blocked=blocked, bundle=str(images.bundle))
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'true\n'), done.stderr


def test_one_program_runs_at_any_batch_on_three_platforms_and_holds_arithmetic_alone(images):
    bundle = serving.load(images.bundle, goldens=False)
    (exported,) = bundle.exported.values()
    assert exported.platforms == ('cpu', 'cuda', 'tpu')
    assert outside_calls(exported) == []
    pixels = read_goldens(images.bundle).inputs['images']
    whole = bundle.run({'images': pixels}).outputs
    padded = bundle.run({'images': pixels[:3]}, size=5).outputs
    np.testing.assert_allclose(padded, whole[:3], atol=1e-5)
    assert set(bundle.compiled) == {(0, len(pixels)), (0, 5)}


def test_other_weights_go_through_the_same_program(images):
    bundle = serving.load(images.bundle, goldens=False)
    pixels = {'images': read_goldens(images.bundle).inputs['images']}
    before = bundle.run(pixels).outputs
    bundle.weights = {**bundle.weights, 'params/head/dense/bias': np.array([1, 2, 3], np.float32)}
    shift = bundle.run(pixels).outputs - before
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:1], shift.shape), atol=1e-5)
    assert np.ptp(shift[0]) > 0.5


def test_a_refreshed_bundle_gives_the_same_bits(images, tmp_path):
    new = refresh(images.bundle, tmp_path / 'new')
    old, fresh = read_json(images.bundle / 'bundle.json'), read_json(new / 'bundle.json')
    for name, row in old['files'].items():
        assert fresh['files'][name] == row or name.startswith('program')
    pixels = {'images': read_goldens(new).inputs['images']}
    one, other = (serving.load(each, goldens=False).run(pixels) for each in (images.bundle, new))
    np.testing.assert_array_equal(one.outputs, other.outputs)
    assert fresh['refreshed_from'] == old['versions']


@pytest.mark.slow
def test_texts_of_any_length_go_to_the_bucket_that_holds_them(texts):
    bundle = serving.load(texts.bundle)  # runs goldens through every length
    assert bundle.signature.lengths == (16, 32)
    reader = bundle.reader
    short, long = reader.read('a'), reader.read('word ' * 100)
    assert len(long['input_ids']) == 32
    both = bundle.run(reader.stacked([short, long]))
    alone = bundle.run(reader.stacked([short]))
    np.testing.assert_allclose(both.outputs[0], alone.outputs[0], atol=1e-5)
    assert {bucket for bucket, _ in bundle.compiled} == {16, 32}


def test_the_manifest_says_versions_and_the_end_of_the_guarantee(images):
    manifest = read_json(images.bundle / 'bundle.json')
    assert manifest['versions']['jax'] == jax.__version__
    assert {'ftjax', 'jaxlib', 'python'} <= set(manifest['versions'])
    assert manifest['guarantee_ends'] > manifest['made']
    names = {path.name for path in images.bundle.iterdir()}
    assert names == {*manifest['files'], 'bundle.json'}
    card = (images.bundle / 'README.md').read_text()
    assert 'accuracy' in card and 'serving.load' in card and 'goldens.safetensors' in card


def test_reference_statistics_are_of_the_validation_split(images):
    bundle = serving.load(images.bundle, goldens=False)
    reference = read_reference(images.bundle, bundle.signature)
    val = load_data(read_config(read_json(images.run / 'config.json')).data).val
    assert (reference.split, reference.count) == ('val', len(val))
    found = bundle.run({'images': np.asarray(val.inputs)}, 16 * -(-len(val) // 16))
    np.testing.assert_allclose(reference.mean, found.features.mean(axis=0), atol=1e-5)
    answers = np.bincount(found.outputs.argmax(axis=1), minlength=3)
    np.testing.assert_array_equal(reference.predicted, answers)
    assert reference.histogram.sum() == len(val)
    nearest = reference.nearest(found.features[4:5], 2)[0]
    assert nearest[0]['id'] == str(val.ids[4])
    assert nearest[0]['distance'] == pytest.approx(0, abs=1e-3)
    assert nearest[0]['distance'] < nearest[1]['distance']


def test_statistics_of_values_and_of_labels():
    arrays = {'features': InputArray(dtype='float32', shape=(2,), low=-1, high=1, unit='')}
    fields = {'task': 't', 'takes': 'table', 'inputs': arrays, 'features': 2}
    value = Signature(**fields, outputs=1)
    outputs = np.linspace(0, 19, 20)[:, None].astype(np.float32)
    found = measure(
        told_outputs(outputs, value), np.zeros((20, 2)), tuple('abcdefghijklmnopqrst'), value, 'val'
    )
    assert found.histogram.tolist() == [1] * 20
    assert found.said[:2] == ('0', '1')
    labels = Signature(**fields, outputs=2, activation='sigmoid', class_names=('sea', 'sky'))
    rows = answer_rows(np.array([[3.0, -3.0], [3.0, 3.0]]), labels)
    assert [row['predicted'] for row in rows] == [['sea'], ['sea', 'sky']]
    assert rows[0]['probabilities']['sea'] == pytest.approx(1 / (1 + np.exp(-3)))


def test_beside_a_threshold_the_answer_is_counted_and_not_the_most_probable_class():
    arrays = {'features': InputArray(dtype='float32', shape=(2,), low=-1, high=1, unit='')}
    signature = Signature(
        task='t',
        takes='table',
        inputs=arrays,
        features=2,
        outputs=2,
        activation='softmax',
        class_names=('ok', 'bad'),
        threshold=0.2,
    )
    outputs = np.log(np.array([[0.7, 0.3], [0.9, 0.1]]))
    told = told_outputs(outputs, signature)
    assert [(one.said, one.best) for one in told] == [('bad', 'bad'), ('ok', 'ok')]
    assert [one.value for one in told] == pytest.approx([0.3, 0.9])
    found = measure(told, np.zeros((2, 2)), ('a', 'b'), signature, 'val', labels=np.array([1, 1]))
    assert (found.right, found.labelled, found.answers.tolist()) == (1, 2, [1, 0])


def test_a_reference_of_before_is_not_compared_with_traffic_beside_a_threshold(images, tmp_path):
    folder = shutil.copytree(images.bundle, tmp_path / 'bundle')
    signature = dataclasses.replace(serving.load(folder, goldens=False).signature, threshold=0.2)
    check_monitored(read_reference(folder, signature))
    facts = read_json(folder / 'reference.json')
    del facts['of_answers']
    write_json(folder / 'reference.json', facts)
    with pytest.raises(UserError, match='make it anew of its run'):
        check_monitored(read_reference(folder, signature))
    check_monitored(read_reference(folder, dataclasses.replace(signature, threshold=None)))


def test_facts_of_a_run_with_columns_and_further_test_sets_are_read_again(tmp_path):
    data = {'train': 'a', 'test': 'b', 'columns': {'teacher': {'x': 1}}, 'further': {'c': 'd'}}
    write_run_facts(tmp_path, {}, {'identity': {'data': data}})
    assert read_run_facts(tmp_path)['data'] == {'train': 'a', 'test': 'b'}
    write_json(tmp_path / 'run.json', {'data': data})  # as it was written before
    assert read_run_facts(tmp_path)['data'] == data
    write_json(tmp_path / 'run.json', {'data': {**data, 'val': 3}})
    with pytest.raises(UserError, match='data: val is 3'):
        read_run_facts(tmp_path)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'images': np.zeros((2, 8, 8, 1), np.float32)}, 'expected uint8'),
        ({'images': np.zeros((2, 9, 8, 1), np.uint8)}, 'expected uint8'),
        ({'images': np.zeros((0, 8, 8, 1), np.uint8)}, 'expected one number'),
        ({'pixels': np.zeros((2, 8, 8, 1), np.uint8)}, "expected 'images'"),
    ],
)
def test_other_arrays_are_refused(images, change, said):
    with pytest.raises(UserError, match=said):
        serving.load(images.bundle, goldens=False).run(change)


@pytest.mark.slow
def test_tokens_beyond_the_vocabulary_and_nan_are_refused(texts):
    bundle = serving.load(texts.bundle, goldens=False)
    inputs = dict(bundle.reader.stacked([bundle.reader.read('a b c')]))
    inputs['input_ids'] = inputs['input_ids'] + 10**6
    with pytest.raises(UserError, match='input_ids has values'):
        bundle.run(inputs)
    with pytest.raises(UserError, match='of 33 tokens'):
        bundle.run({k: np.zeros((1, 33), np.int32) for k in inputs})


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('resnet', {'depths': (1, 1), 'widths': (8, 16)}),
        ('resnet_bn_cifar', {'depth': 8}),
        ('convnext', {'depths': (1, 1), 'widths': (8, 16)}),
        ('swin', {'image_size': 16, 'width': 8, 'depths': (2,), 'heads': (2,), 'window': 2}),
    ],
)
def test_networks_of_images_are_exported_for_any_batch(name, options):
    network = build(name, {**options, 'num_classes': 3})
    example = np.asarray(network.example_input(9))
    variables = jax.jit(network.init)(jax.random.key(0), example)
    spec = {'images': InputArray(dtype='float32', shape=example.shape[1:], low=0, high=1, unit='')}
    exported = trace(Served(network, None), flatten(variables), spec, (0,))[0]
    given = np.random.default_rng(0).normal(size=example.shape).astype(np.float32)
    found = jax.jit(exported.call)(dict(flatten(variables)), {'images': given})
    expected = jax.jit(network.apply)(variables, given)
    np.testing.assert_allclose(found['outputs'], expected, atol=1e-5)


def test_stablehlo_names_its_arguments(images, tmp_path):
    from ftjax.serving.making.stablehlo import write_stablehlo

    folder = write_stablehlo(images.run, tmp_path / 'hlo')
    text = (folder / 'program.mlir').read_text()
    main = text[text.index('@main(') :].split('->')[0]
    arguments = json.loads((folder / 'program.arguments.json').read_text())['arguments']
    assert arguments[-1] == {
        'from': 'inputs',
        'name': 'images',
        'dtype': 'uint8',
        'shape': ['batch', 8, 8, 1],
    }
    assert main.count('%arg') == len(arguments)
    assert pathlib.Path(folder / 'program.mlirbc').read_bytes()[:4] == b'ML\xefR'


@pytest.mark.slow
def test_adapters_views_a_threshold_and_a_temperature_go_along(tmp_path):
    random = np.random.default_rng(0)
    pixels, names = random.integers(0, 256, (60, 8, 8, 1), np.uint8), np.array(['no', 'yes'])
    np.savez(tmp_path / 'x.npz', x=pixels, y=random.integers(0, 2, 60), class_names=names)
    run = finetune(
        '',
        f'npz:{tmp_path / "x.npz"}',
        model=VIT,
        freeze='lora:4',
        train={'steps': 3, 'threshold': 'f1'},
        data={'batch_size': 8, 'eval_batch_size': 16, 'tta': 'flip'},
    ).fit(tmp_path / 'run', progress=False)
    save_calibration(tmp_path / 'run' / 'model', {**run.calibrate(), 'temperature': 1.7})
    bundle = serving.load(write_bundle(tmp_path / 'run', tmp_path / 'bundle'))
    assert bundle.signature.temperature == 1.7
    assert 0 < bundle.signature.threshold < 1 and bundle.signature.before_temperature
    trained = open_trained(str(tmp_path / 'run'))
    rows = answers_to(trained, list(pixels[:16]), {}, batch_size=16).rows
    found = bundle.predict(list(pixels[:16]))
    assert [row['predicted'] for row in found] == [row['predicted'] for row in rows]
    assert [row['probability'] for row in found] == [row['probability'] for row in rows]
