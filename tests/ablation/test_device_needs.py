"""What runs hold on a device, as they are placed by: against the plan's own forecast."""

import dataclasses

import pytest
from test_cells import VALUES, runner_of

from ftjax.ablation.cells.device_needs import DeviceNeeds
from ftjax.runs.before_training.memory_plan import run_memory

SMALL = {**VALUES, 'data': {**VALUES['data'], 'eval_batch_size': 10}}
SMALL['train'] = {'steps': 4, 'steps_per_call': 1}


def needs_of(arms, **more):
    return DeviceNeeds(runner_of(arms, values=SMALL, **more))


def test_what_is_more_than_there_is_is_not_compiled(monkeypatch):
    monkeypatch.setattr(
        'ftjax.ablation.cells.device_needs.run_memory', lambda run: pytest.fail('compiled')
    )
    needs = needs_of(('full',))
    least = needs.need('full', 1, 1000)
    # Weights, gradients and what the optimizer keeps, from shapes.
    assert 2 * 2**20 < least.bytes < 4 * 2**20 and not least.stored


def test_a_config_says_what_arms_get(monkeypatch):
    needs = needs_of(('full', 'head'), devices_per_run=0.5, device_memory='2GiB')
    assert needs.by_hand('full') == 0.5 and needs.memory == 2 * 2**30
    assert needs_of(('full',)).memory is None and needs.meshed('full') == 0
    work = needs.on(2)
    assert work.execute.values['mesh'] == {'fsdp': 2} and 'mesh' not in needs.runner.values
    assert work.needs.meshed('head') == 2
    settings = dataclasses.replace(
        needs.runner.settings, arms={'pixels': {'baseline': 'pixels'}, 'head': 'head'}
    )
    other = DeviceNeeds(type(needs.runner)(SMALL, settings))
    assert other.networkless('pixels') and not other.networkless('head')


@pytest.mark.slow
def test_a_run_needs_what_its_plan_forecasts_and_a_head_on_stored_features_less():
    needs = needs_of(('full', 'head', 'lp_ft'))
    full, head = needs.need('full', 1, None), needs.need('head', 1, None)
    prepared = needs.runner.prepared('full', 1e-2, 0)
    assert full.bytes == run_memory(prepared).peak and not full.stored
    assert head.stored and head.bytes < full.bytes / 4
    assert head.bytes < run_memory(needs.runner.prepared('head', 1e-2, 0)).peak
    # Of runs in one program each has its own weights, moments and gradients; 200 of this small head
    # are more than what validation holds, which decides for few.
    many, more = (needs.need('head', count, None).bytes for count in (200, 300))
    own = (more - many) / 100
    assert many > head.bytes and 3 * 4 * 650 <= own < 3 * 3 * 4 * 650
    # A run that trains the whole network after its head needs the whole.
    assert not needs.need('lp_ft', 1, None).stored
