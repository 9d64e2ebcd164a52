"""A deployed network trained on with new data: kept, compared on old and new, never promoted."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from altered_bundle import altered
from tiny_vit import VIT

from ftjax import serving
from ftjax.api import finetune
from ftjax.config import Config, read_config
from ftjax.data.load import load_data
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.evaluation.intervals import mean_interval
from ftjax.serving.bundle.manifest import write_manifest
from ftjax.serving.making.write_bundle import write_bundle
from ftjax.serving.updating.compare_sets import Scored, changes
from ftjax.serving.updating.continued_config import (
    continued_config,
    new_settings,
)
from ftjax.serving.updating.update_model import (
    UpdateRequest,
    check_start,
    exported,
    folder_of,
    notes_on_data,
    update_model,
)
from ftjax.serving.updating.update_text import update_text
from ftjax.serving.updating.updated import Updated

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = np.array(['dark', 'grey', 'bright'])


def images(seed, count=240, order=(0, 1, 2)):
    """Noise around a brightness that is the class; `order` says which class has which."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    level = np.array([60, 128, 196])[np.array(order)[labels]]
    noise = random.normal(0, 12, (count, 8, 8, 1))
    return np.clip(level[:, None, None, None] + noise, 0, 255).astype(np.uint8), labels


@pytest.fixture(scope='module')
def deployed(tmp_path_factory):
    """(folder, bundle) of a network that tells three brightnesses apart."""
    folder = tmp_path_factory.mktemp('updated')
    x, y = images(0)
    np.savez(folder / 'old.npz', x=x, y=y, class_names=NAMES)
    # The new data: what was grey is bright now, and the contrary.
    x, y = images(1, order=(0, 2, 1))
    np.savez(folder / 'new.npz', x=x, y=y, class_names=NAMES)
    run = finetune(
        '',
        f'npz:{folder / "old.npz"}',
        model=VIT,
        freeze='full',
        train={'steps': 60},
        optimizer={'learning_rate': 3e-3},
        data={'batch_size': 32, 'eval_batch_size': 64},
    )
    run.fit(folder / 'run', progress=False)
    return folder, write_bundle(folder / 'run', folder / 'bundle')


def request_of(deployed, workdir, **more):
    folder, bundle = deployed
    data = {'source': f'npz:{folder / "new.npz"}', **more.pop('data', {})}
    return UpdateRequest(bundle=bundle, data=data, workdir=workdir, **more)


@pytest.mark.slow
def test_new_data_are_learnt_forgetting_is_measured_and_the_candidate_proves_itself(
    deployed, tmp_path
):
    before = {p.name: p.read_bytes() for p in deployed[1].iterdir()}
    request = request_of(
        deployed, tmp_path / 'u', strategies=('same', 'head'), epochs=24.0, learning_rate=1e-2
    )
    found = update_model(request, say=lambda _: None)
    assert {p.name: p.read_bytes() for p in deployed[1].iterdir()} == before
    same = {one.set_name: one for one in found.tests['same']}
    assert same['new'].before < 0.6 < 0.9 < same['new'].after
    assert same['new'].verdict == 'better'
    # Classes changed places: what is right on the new data is wrong on the old.
    assert same['old'].before > 0.9 > 0.7 > same['old'].after
    assert same['old'].verdict == 'worse'
    low, high = same['old'].interval
    assert low <= same['old'].difference <= high < 0
    means = {name: sum(found.validation[name].values()) for name in ('same', 'head')}
    assert found.chosen == max(means, key=means.get)
    plan = json.loads((tmp_path / 'u' / 'head' / 'result.json').read_text())
    assert plan['strategy'] == 'head'
    # The candidate is the chosen run, and answers as it does.
    bundle = serving.load(found.candidate)
    x, y = images(2, order=(0, 2, 1))
    predicted = [row['predicted'] for row in bundle.predict(list(x))]
    right = np.mean(np.array(predicted) == NAMES[y])
    chosen = {one.set_name: one for one in found.tests[found.chosen]}
    assert right == pytest.approx(chosen['new'].after, abs=0.15)
    again = update_model(request, say=lambda _: None)  # all is there already
    assert again == found
    text = (tmp_path / 'u' / 'update.md').read_text()
    assert 'not promoted' in text
    assert '| same | old |' in text


def test_what_cannot_be_updated_is_refused_before_anything_is_trained(deployed, tmp_path):
    folder, _ = deployed
    x, y = images(3)
    np.savez(folder / 'two.npz', x=x[y < 2], y=y[y < 2], class_names=NAMES[:2])
    np.savez(folder / 'more.npz', x=x, y=y, class_names=['dark', 'grey', 'white'])
    for source, message in (
        ('two', "they lack 'bright'"),
        ('more', "they lack 'bright'; they have 'white' too"),
    ):
        request = request_of(
            deployed, tmp_path / 'u', data={'source': f'npz:{folder / source}.npz'}
        )
        with pytest.raises(UserError, match=message):
            update_model(request)
    with pytest.raises(UserError, match='new data are needed'):
        update_model(request_of(deployed, tmp_path / 'u', data={'source': ''}))
    whole = (folder / 'old.npz').read_bytes()
    try:
        np.savez(folder / 'old.npz', x=x, y=y, class_names=NAMES)
        with pytest.raises(UserError, match='no longer that of the run'):
            update_model(request_of(deployed, tmp_path / 'u'))
        (folder / 'old.npz').unlink()
        with pytest.raises(UserError, match='--noforgetting'):
            update_model(request_of(deployed, tmp_path / 'u'))
    finally:
        (folder / 'old.npz').write_bytes(whole)
    assert not (tmp_path / 'u').exists()
    assert [folder_of(s) for s in ('last:1', 'same', 'lora:8,all')] == [
        'last_1',
        'same',
        'lora_8_all',
    ]


def test_examples_that_were_trained_on_are_told(deployed, tmp_path):
    folder, _ = deployed
    with np.load(folder / 'old.npz') as old:
        np.savez(folder / 'copy.npz', x=old['x'], y=old['y'], class_names=NAMES)
    said = []
    request = request_of(
        deployed,
        tmp_path / 'u',
        data={'source': f'npz:{folder / "copy.npz"}', 'seed': 5},
        epochs=0.5,
    )
    found = update_model(request, say=said.append)
    assert any('are in the old training split' in note for note in found.notes)
    assert any('are in the new training split' in line for line in said)


def test_a_bundle_of_an_earlier_update_is_not_taken_for_that_of_the_run(deployed, tmp_path):
    folder, bundle = deployed
    taken = exported(folder / 'run', bundle, request_of(deployed, tmp_path))
    assert taken == bundle
    other = altered(bundle, tmp_path / 'other')
    with pytest.raises(UserError, match='holds other weights than'):
        exported(folder / 'run', other, request_of(deployed, tmp_path))


def test_a_candidate_that_is_worse_on_validation_data_is_said_to_be():
    for after, said in ((0.4, True), (0.6, False)):
        found = Updated(
            chosen='same',
            candidate=pathlib.Path('b'),
            validation={'deployed': {'new': 0.5}, 'same': {'new': after}},
            tests={},
            notes=(),
        )
        text = update_text(found, 'accuracy', 'b')
        assert ('the deployed network is better' in text) == said


def request_of_noise(bundle, folder, **more):
    """New noise, for a bundle of noise."""
    random = np.random.default_rng(7)
    x, y = random.integers(0, 256, (60, 8, 8, 1), np.uint8), random.integers(0, 3, 60)
    np.savez(folder / 'noise.npz', x=x, y=y, class_names=np.array(['ant', 'bee', 'cat']))
    data = {'source': f'npz:{folder / "noise.npz"}'}
    return UpdateRequest(bundle=bundle, data=data, workdir=folder / 'u', **more)


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    images, tmp_path, monkeypatch
):
    def no_scores(trained, dataset):
        raise UserError(f'task {dataset.task} has no score for each example')

    monkeypatch.setattr(f'{update_model.__module__}.scored', no_scores)
    with pytest.raises(UserError, match='has no score for each example'):
        update_model(request_of_noise(images.bundle, tmp_path), say=lambda _: None)
    assert not (tmp_path / 'u').exists()


def test_a_strategy_that_lacks_what_it_needs_is_refused_before_others_are_trained(tmp_path):
    sizes = {'examples_per_class': 2, 'val_per_class': 1, 'test_per_class': 1, 'batch_size': 4}
    data = {'source': 'digits', **sizes}
    config = read_config({'init': 'glyphs', 'freeze': 'ewc', 'data': data, 'train': {'steps': 1}})
    with pytest.raises(UserError, match='needs previous tasks'):
        check_start(tmp_path, 'ewc', config, load_data(config.data))


def test_a_strategy_that_had_no_effect_beside_rules_does_not_hinder_an_update(tmp_path, caplog):
    config = {**Config().to_json(), 'freeze': {'rules': [['.*', 'all']], 'strategy': 'ema'}}
    freeze = continued_config(config, tmp_path, DataSettings(source='digits'), 'same').freeze
    assert (freeze.described, freeze.strategy) == ('rules', 'full')
    assert "'ema' of the run is left out" in caplog.text


def test_the_same_strategy_is_refused_where_it_begins_weights_at_random(images, tmp_path):
    bundle = shutil.copytree(images.bundle, tmp_path / 'bundle')
    (bundle / 'bundle.json').unlink()
    facts = json.loads((bundle / 'run.json').read_text())
    facts['config']['freeze'] = 'reinit_top:1'
    (bundle / 'run.json').write_text(json.dumps(facts))
    write_manifest(bundle, {'jax': 'of the test'})
    with pytest.raises(UserError, match="'reinit_top:1', begins some weights at random"):
        update_model(request_of_noise(bundle, tmp_path), say=lambda _: None)
    assert not (tmp_path / 'u').exists()


def test_notes_say_which_fields_are_at_defaults_and_that_a_source_was_trained_on(tmp_path):
    old = {'source': 'csv:a.csv', 'split_column': 'split', 'seed': 3, 'tokenizer': 'wordpiece:128'}
    new, grown = {'source': 'csv:b.csv', 'seed': 3}, {'source': 'csv:./a.csv'}
    given = {'bundle': tmp_path, 'workdir': tmp_path}
    (note,) = notes_on_data(UpdateRequest(data=new, **given), {'data': old})
    assert ' split_column; ' in note
    _, note = notes_on_data(UpdateRequest(data=grown, forgetting=False, **given), {'data': old})
    assert 'the source that the deployed network was trained on' in note
    assert notes_on_data(UpdateRequest(data=new, **given), {'data': {'source': 'csv:a.csv'}}) == []


def test_new_texts_are_read_by_the_tokenizer_of_the_bundle():
    config = {'data': {'source': 'csv:old.csv', 'tokenizer': 'wordpiece:128', 'max_length': 16}}
    found = new_settings(config, {'source': 'csv:new.csv'})
    assert (found.source, found.tokenizer, found.max_length) == ('csv:new.csv', '', 16)


def test_few_examples_that_differ_are_no_verdict():
    def verdict(old, new, **more):
        sides = ({'new': Scored(metric='accuracy', values=values, **more)} for values in (old, new))
        (change,) = changes(*sides)
        return change.verdict, change.p

    right = np.zeros(100, bool)
    assert verdict(right, np.arange(100) < 4) == ('not significantly different', 0.125)
    assert verdict(right, np.arange(100) < 6) == ('better', 0.03125)
    groups = np.arange(100) // 5
    assert verdict(right, np.arange(100) < 45, groups=groups) == ('too few differ to say', None)
    assert verdict(right, np.arange(100) < 75, groups=groups) == ('better', None)
    assert verdict(right + 0.5, right + 0.0)[0] == 'worse'  # numbers, and all differ
    assert verdict(right + 0.5, right + 0.5)[0] == 'too few differ to say'


def test_changes_are_paired():
    random = np.random.default_rng(0)
    old = (random.random(400) < 0.8).astype(float)
    new = old.copy()
    new[:12] = 1 - new[:12]
    (change,) = changes(
        {'new': Scored(metric='accuracy', values=old)},
        {'new': Scored(metric='accuracy', values=new)},
    )
    assert change.difference == pytest.approx((new - old).mean())
    # Twelve of 400 differ: the error of the difference is that of twelve signs.
    assert change.interval[1] - change.interval[0] < 2.2 * 1.96 * np.sqrt(12) / 400
    groups = np.minimum(np.arange(400) // 12, 4)  # of five patients one has all that changed
    kept = {'metric': 'accuracy', 'groups': groups}
    (of_groups,) = changes({'new': Scored(values=old, **kept)}, {'new': Scored(values=new, **kept)})
    assert of_groups.difference == change.difference
    assert of_groups.interval == tuple(mean_interval(new - old, groups)) != change.interval


@pytest.mark.slow
def test_a_candidate_is_published_and_nothing_is_promoted(deployed, tmp_path):
    from ftjax.serving.versions.promotions import promote
    from ftjax.serving.versions.publishing import publish
    from ftjax.serving.versions.registry import Registry

    folder, bundle = deployed
    registry = Registry(str(tmp_path / 'registry'))
    publish(registry, bundle, 'lights')
    promote(registry, 'lights@1', 'production', 'first')
    done = subprocess.run(
        [
            *(sys.executable, 'scripts/update.py', f'--registry={tmp_path / "registry"}'),
            *('--model=lights@production', f'--workdir={tmp_path / "u"}', '--epochs=2'),
            f'--data.source=npz:{folder / "new.npz"}',
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'published: lights@2, not promoted' in done.stdout
    assert registry.resolve('lights@production').number == 1
    made = registry.resolve('lights@latest')
    assert (made.number, made.facts['updated_from']) == (2, 'lights@1')
    assert made.facts['update']['tests']['same'][0]['n'] > 0
