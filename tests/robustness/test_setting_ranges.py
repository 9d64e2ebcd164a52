"""Every number of every setting has a range: what lies outside is refused in one line."""

import dataclasses
import json
import typing

import numpy as np
import pytest

from ftjax.ablation.settings import AblationSettings, read_ablation
from ftjax.config import Config, read_config
from ftjax.data.settings import DataSettings
from ftjax.distributed.sharding import Sharding
from ftjax.errors import UserError
from ftjax.field_types import expected_of
from ftjax.freezing.registry import catalogue, parse
from ftjax.freezing.settings import FreezeSettings
from ftjax.io.files.atomic import to_jsonable
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings
from ftjax.reproductions.soups import Soup
from ftjax.training.settings import TrainSettings

SECTIONS = {
    'train': TrainSettings,
    'optimizer': OptimizerSettings,
    'schedule': ScheduleSettings,
    'data': DataSettings,
    'freeze': FreezeSettings,
}
ALL = (*SECTIONS.values(), Config, AblationSettings, Soup)
ABLATION = {'arms': {'a': 'head', 'b': 'full'}, 'rates': (1e-3,)}
HUGE = 10**5000  # longer than Python writes out
NUMBERS = (-1, -0.5, 0, 0.5, 1, 1.5, 7, 2**31, 2**63, 2**70, HUGE, 1e30, 1e300)
NOT_FINITE = (float('nan'), float('inf'), -float('inf'), np.float32('nan'))
OTHERS = ('', 'x', 'nan', True, None, [], {}, (), b'x', object(), 3 + 1j, [None], ((),), {1: 2})


def fields_of(cls):
    return [field.name for field in dataclasses.fields(cls)]


def numeric(cls):
    """Fields that take a number, or a sequence of numbers."""
    return [
        name
        for name, expected in expected_of(cls).items()
        if {int, float} & {*expected.kinds, expected.element}
    ]


def refused(make, *arguments):
    """The message of the UserError; None where the value was taken. Anything else fails."""
    message = None
    try:
        make(*arguments)
    except UserError as error:
        message = str(error)
    assert message is None or ('\n' not in message and len(message) < 1000)
    return message


@pytest.mark.parametrize('cls', ALL, ids=lambda cls: cls.__name__)
def test_every_number_has_a_range(cls):
    without = [name for name in numeric(cls) if expected_of(cls)[name].range is None]
    assert without == []


def test_every_number_of_every_strategy_has_a_range():
    for name, found in catalogue().items():
        if not found.function.__code__.co_filename.endswith('.py'):
            continue  # a docstring's own
        if not found.function.__module__.startswith('ftjax.'):
            continue  # another test's own
        numbers = {key for key, value in found.parameters.items() if not isinstance(value, str)}
        assert numbers == set(found.ranges), name


@pytest.mark.parametrize('section', SECTIONS)
def test_whatever_a_config_holds_is_a_setting_or_one_line(section):
    for name in fields_of(SECTIONS[section]):
        for value in (*NUMBERS, *NOT_FINITE, *OTHERS):
            for given in (value, [value], (value, value)):
                make = {section: {name: given}}
                if refused(read_config, make) is None:
                    json.dumps(to_jsonable(read_config(make).to_json()))
        if name in numeric(SECTIONS[section]):
            for value in NOT_FINITE:
                message = refused(read_config, {section: {name: value}})
                assert message and message.startswith(f'{section}.{name} is '), message


@pytest.mark.parametrize('name', [n for n in fields_of(Config) if n not in SECTIONS])
def test_top_level_keys_too(name):
    for value in (*NUMBERS, *NOT_FINITE, *OTHERS):
        for given in (value, [value], {'data': value}, [('a', value)]):
            refused(read_config, {name: given})


@pytest.mark.parametrize('name', fields_of(AblationSettings))
def test_settings_of_an_ablation_too(name):
    for value in (*NUMBERS, *NOT_FINITE, *OTHERS):
        for given in (
            value,
            [value],
            {'a': value},
            {'a': [value]},
            {'a': {'rates': value}},
            [[value]],
        ):
            refused(read_ablation, {**ABLATION, name: given})


CASES = (
    ('train', 'patience', 0, 'a whole number, at least 1, or None'),
    ('train', 'patience', -3, 'at least 1'),
    ('train', 'label_smoothing', 1.5, 'at least 0 and below 1'),
    ('train', 'label_smoothing', 5, 'at least 0 and below 1'),
    ('train', 'label_smoothing', -0.5, 'at least 0 and below 1'),
    ('train', 'eval_every', -1.0, 'a number, above 0'),
    ('train', 'eval_every', float('nan'), 'a number, above 0'),
    ('train', 'epochs', float('inf'), 'above 0 and at most 3.4e+38'),
    ('train', 'steps', 2**31, 'at most 2147483647'),
    ('train', 'cache_bytes', -1, 'at least 0'),
    ('optimizer', 'clip_norm', -1.0, 'a number, above 0, or None'),
    ('optimizer', 'clip_norm', 0.0, 'above 0'),
    ('optimizer', 'weight_decay', -1.0, 'at least 0'),
    ('optimizer', 'epsilon', -1.0, 'at least 1e-30'),
    ('optimizer', 'betas', (0.9, 1.0), 'a sequence of 2 numbers, each at least 0 and below 1'),
    ('optimizer', 'betas', (0.9,), 'a sequence of 2 numbers'),
    ('optimizer', 'ema', 1.0, 'at least 0 and below 1'),
    ('optimizer', 'learning_rate', -1e-3, 'a number, above 0'),
    ('optimizer', 'learning_rate', 0.0, 'a number above 0'),
    ('optimizer', 'learning_rate', 1e39, 'at most 3.4e+38'),
    ('optimizer', 'accumulate', 0, 'at least 1'),
    ('schedule', 'end', 5.0, 'at least 0 and at most 1'),
    ('schedule', 'boundaries', (3.0, 0.2), 'each above 0 and below 1'),
    ('schedule', 'boundaries', (0.7, 0.2), 'expected them to rise'),
    ('schedule', 'factor', 0.0, 'above 0 and at most 1'),
    ('data', 'batch_size', 2**40, 'at most 2147483647'),
    ('freeze', 'rewarm', -1, 'a number of steps, at least 0'),
)


@pytest.mark.parametrize(('section', 'name', 'value', 'words'), CASES)
def test_a_value_out_of_range_says_key_value_and_range(section, name, value, words):
    message = refused(read_config, {section: {name: value}})
    assert message and message.startswith(f'{section}.{name} '), message
    assert words in message


@pytest.mark.parametrize('seed', [-1, 2**31, 2**70])
def test_seeds_are_those_that_differ(seed):
    # Of longer ones JAX keeps the last 32 bits: 2**32 would be the same run as 0.
    for values in ({'seed': seed}, {'data': {'seed': seed}}):
        assert 'seed is ' in (refused(read_config, values) or '')
    assert 'seeds is ' in (refused(read_ablation, {**ABLATION, 'seeds': (0, seed)}) or '')


def test_a_batch_goes_into_equal_parts():
    values = {'data': {'batch_size': 16}, 'optimizer': {'accumulate': 3}}
    assert refused(read_config, values) == (
        'optimizer.accumulate is 3; expected a number that divides data.batch_size=16 into equal '
        'parts'
    )
    with pytest.raises(UserError, match=r'accumulate=3 does not divide a batch of 16'):
        Sharding(fsdp=1).check((), 16, 3)
    # The short runs of a strategy that tries on fewer examples than a batch.
    assert Sharding(fsdp=1).fitting(10, parts=4) % (4 * Sharding(fsdp=1).devices) == 0


def test_more_steps_than_can_be_counted_are_refused():
    with pytest.raises(UserError, match=r'train.epochs is 1e\+30: at 10 steps each more than'):
        TrainSettings(epochs=1e30).total(10)
    assert TrainSettings(eval_every=1e30).every(10) == 2**31 - 1
    assert TrainSettings(eval_every=1e-9).every(10) == 1


def test_no_strategy_takes_what_is_no_number_or_negative():
    for name, found in catalogue().items():
        for key in found.ranges:
            for value in ('-1', '-0.5', 'nan', 'inf', '1e300', 'x', str(10**400)):
                assert refused(parse, f'{name}:{key}={value}'), f'{name}:{key}={value}'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('ema:0', 'decay is 0; expected a number, above 0 and below 1'),
        ('ema:1', 'above 0 and below 1'),
        ('lp_ft:0.5,0', 'rate is 0; expected a number, above 0'),
        ('fisher_mask:1.5', 'share is 1.5'),
        ('autofreeze:3,150', 'percentile is 150'),
        ('auto_rgn:0', 'batches is 0'),
        ('lora:8,-1', 'alpha is -1'),
        ('lora:100000000', 'at most 65536'),
        ('mixout:2', 'at most 1'),
        ('l2_sp:-1', 'alpha is -1'),
        ('llrd:0', 'decay is 0'),
        ('soup_uniform:0', 'runs is 0'),
        ('subtuning:0.01,1', 'folds is 1; expected a number, at least 2'),
    ],
)
def test_a_strategy_says_which_numbers_it_takes(text, words):
    message = refused(parse, text)
    assert message and message.startswith(f'freeze {text!r}: '), message
    assert words in message


def test_types_of_settings_are_read_without_their_ranges():
    # What the command line parses by: a placeholder's type, a tuple for a tuple.
    assert typing.get_type_hints(TrainSettings)['patience'] == int | None
