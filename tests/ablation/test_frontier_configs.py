"""The configs of the learning-forgetting frontier: every arm plans, and retention can be read."""

import pytest

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.cells.extra_test_sets import further_dataset
from ftjax.ablation.cells.task_grids import check_grids
from ftjax.ablation.settings import read_ablation
from ftjax.config import merged, plain
from ftjax.pretrained.locate.locate import data_folder
from ftjax.runs.prepare import prepare

NAMES = ('frontier_images', 'frontier_decoder', 'frontier_sentences')
WANTED = {
    'frontier_images': {'full', 'head', 'blocks:20%-80%', 'bitfit', 'norm', 'l2_sp', 'ema'},
    'frontier_decoder': {'full', 'blocks:1-2', 'mlp_in', 'attention_proj', 'lora:8', 'lora:8,all'},
    'frontier_sentences': {'full', 'head', 'blocks:20%-80%', 'mlp_in', 'attention_proj', 'bitfit'},
}


def values_of(repository, name):
    path = repository / 'configs' / 'ablations' / f'{name}.py'
    scope = {'__name__': name}
    exec(compile(path.read_text(encoding='utf-8'), str(path), 'exec'), scope)
    values = plain(scope['get_config']())
    return values, read_ablation(values.pop('ablation'), values['data']['task'])


@pytest.mark.parametrize('name', NAMES)
def test_arms_have_rates_of_their_own_and_what_is_reduced_is_told(repository, name):
    values, settings = values_of(repository, name)
    check_grids(values, settings)
    assert len(settings.tuned) >= 14 and WANTED[name] <= {*settings.arms}
    assert {'wise_ft', 'norm'} <= {*settings.arms} and settings.notes
    assert settings.retention_asked.before == 'pretrained' and settings.tuning_seeds
    assert len(settings.seeds) == 5
    assert all('rates' in settings.arms[arm] for arm in settings.tuned)


def planned(values, settings):
    """What trains first in every arm, planned from names and shapes alone."""
    runner, found = CellRunner(values, settings), {}
    for arm in settings.tuned:
        config = runner.config_of(arm, settings.grids[arm][0], 0)
        prepared = prepare(config, runner.data_of(config), weights=False)
        found[arm] = frozenset(prepared.plan.phases[0].trainable)
    return found


@pytest.mark.slow
def test_every_arm_of_the_decoder_plans(repository):
    values, settings = values_of(repository, 'frontier_decoder')
    found = planned(values, settings)
    assert all(found.values()) and found['mlp_in'].isdisjoint(found['attention_proj'])
    assert all('block_01' in path or 'block_02' in path for path in found['blocks:1-2'])


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(
    not (data_folder() / 'cifar10' / 'cifar10_test10k.npz').exists(),
    reason='needs the data folder (FTJAX_DATA)',
)
def test_every_arm_of_the_images_plans_and_retention_is_the_same_images(repository):
    values, settings = values_of(repository, 'frontier_images')
    assert all(planned(values, settings).values())
    runner = CellRunner(values, settings)
    config = runner.config_of('full', 1e-3, 1)
    clean = further_dataset(config.data, 'clean', settings.also_evaluate['clean'])
    test = runner.data_of(config).test
    assert list(clean.ids) == list(test.ids) and len(clean) == 1000
    assert clean.fingerprint != test.fingerprint


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(
    not (data_folder() / 'text' / 'mrpc').exists(), reason='needs the data folder (FTJAX_DATA)'
)
def test_every_arm_of_the_sentences_plans_on_the_shipped_encoder_too(repository):
    values, settings = values_of(repository, 'frontier_sentences')
    values = merged(values, {'init': 'docstrings', 'data.max_length': 64})
    assert all(planned(values, settings).values())
    config = CellRunner(values, settings).config_of('full', 1e-3, 0)
    pairs = further_dataset(config.data, 'paraphrases', settings.also_evaluate['paraphrases'])
    assert len(pairs) == 207 and {*pairs.labels.tolist()} == {0.0, 1.0}
