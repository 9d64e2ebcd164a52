"""Whatever is written into a config, a strategy, a manifest or a header: it works or is one line.

1,300 inputs in the quick run, more than 25,000 under `slow`. Files that are read from outside are
those of scripts/fuzzing.py, where each input has a limit of time and memory.
"""

import copy
import dataclasses
import json
import math
import struct
import sys

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ftjax.config import SECTIONS, read_config
from ftjax.errors import UserError
from ftjax.freezing import make_plan
from ftjax.freezing.plan.table import plan_table
from ftjax.freezing.registry import catalogue
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.settings import PHASE_KEYS, FreezeSettings
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.files.saved_step import MANIFEST, DamagedError, SavedStep, make_manifest, restored
from ftjax.io.json.tree_json import array_hash, json_hash, pack
from ftjax.models.registry import build
from ftjax.pretrained.readers.safetensors_file import DTYPES, SafetensorsSource
from ftjax.training.checkpoints.checkpoints import Checkpoints

AMOUNT = pytest.mark.parametrize(
    'amount', [60, pytest.param(1100, marks=pytest.mark.slow)], ids=['some', 'many']
)
NET = build(
    'vit', {'image_size': 8, 'patch_size': 4, 'width': 4, 'depth': 2, 'heads': 2, 'num_classes': 3}
)
SHAPES = jax.eval_shape(NET.init, jax.random.key(0), NET.example_input())
RUN_LENGTH = RunLength(20, 5)

NUMBERS = st.one_of(
    st.integers(-3, 40),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, 1, 2, 0.0, 0.5, 1.0, -1, 10**9, 2**31, 1e-300, 1e300]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=6))
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def ends_well(function, *arguments, also=()):
    """Success, or an error that a person can read on one line."""
    try:
        function(*arguments)
    except also:
        pass
    except UserError as error:
        message = str(error)
        if not message.strip() or '\n' in message:
            raise AssertionError(f'not one line: {message!r}') from error


def fuzz(amount, strategy, check):
    """Runs a check on so many inputs, the same ones every time."""
    seen = []

    @settings(
        max_examples=amount,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(value):
        seen.append(1)
        check(value)

    run()
    assert len(seen) >= amount


def fields_of(cls):
    return [field.name for field in dataclasses.fields(cls)]


def near(field):
    """Values such as the field's default, and others."""
    default = None if field.default is dataclasses.MISSING else field.default
    return st.one_of(st.just(default), JUNK, NUMBERS, st.lists(NUMBERS, max_size=2))


NAMES = sorted(catalogue())
TERMS = st.builds(
    lambda name, arguments: ':'.join([name, ','.join(arguments)]) if arguments else name,
    st.one_of(st.sampled_from(NAMES), st.text(max_size=8)),
    st.lists(
        st.one_of(
            st.integers(-2, 12).map(str),
            NUMBERS.map(str),
            st.text(max_size=5),
            st.builds('{}={}'.format, st.text(max_size=5), NUMBERS),
        ),
        max_size=3,
    ),
)
ARGUMENTS = st.one_of(
    st.sampled_from(['0', '1', '2', '3', '5', '20', '0.5', '0.1', '0.9', '1.5', '-1', '-0.5']),
    st.sampled_from(['', 'nan', 'inf', '1e9', '1e-9', 'sum', '1e400', '0x1', '1_0', '٣']),
)
PLAUSIBLE = st.sampled_from(NAMES).flatmap(
    lambda name: st.lists(ARGUMENTS, max_size=len(catalogue()[name].parameters)).map(
        lambda found: f'{name}:{",".join(found)}' if found else name
    )
)
STRATEGIES = st.one_of(
    PLAUSIBLE,
    PLAUSIBLE,
    st.lists(PLAUSIBLE, min_size=2, max_size=3).map('+'.join),
    st.lists(st.one_of(PLAUSIBLE, TERMS), min_size=1, max_size=3).map('+'.join),
    st.text(max_size=20),
)
PATTERNS = st.one_of(
    st.sampled_from(['.*', 'head/.*', 'block_01/.*', '(head|norm)/.*', '.*/bias', 'embed/.*', '(']),
    st.text(max_size=6),
)
RULES = st.lists(
    st.tuples(PATTERNS, st.sampled_from(['frozen', 'a', 'b', ''])).map(list), max_size=4
)
MASKS = ('head', 'last:1', 'block:1', 'full', 'norm', 'last:1+llrd:0.5', 'lora:2')
UNTIL = st.one_of(
    st.none(),
    NUMBERS,
    st.builds('{}{}'.format, NUMBERS, st.sampled_from(['%', ' epochs', ' steps', ' weeks', ''])),
    st.text(max_size=8),
)
PHASE_VALUES = {
    'until': UNTIL,
    'freeze': STRATEGIES,
    'rules': RULES,
    'multipliers': st.dictionaries(st.sampled_from(['a', 'b', 'frozen']), SCALARS, max_size=2),
    'anneal': st.dictionaries(st.sampled_from(['a', 'b', 'frozen']), NUMBERS, max_size=2),
    'rate': NUMBERS,
    'norm': st.sampled_from(['auto', 'train', 'frozen', 'recompute']),
    'reinit': st.one_of(PATTERNS, st.lists(PATTERNS, max_size=2)),
}
PHASES = st.one_of(
    st.fixed_dictionaries(
        {}, optional={key: st.one_of(PHASE_VALUES.get(key, SCALARS), JUNK) for key in PHASE_KEYS}
    ),
    st.fixed_dictionaries(
        {'until': UNTIL, 'rules': RULES},
        optional={k: v for k, v in PHASE_VALUES.items() if k not in ('until', 'rules', 'freeze')},
    ),
    st.tuples(st.sampled_from(['20%', '1 epochs', '7 steps', 3, None]), st.sampled_from(MASKS)),
    st.fixed_dictionaries({'until': UNTIL, 'freeze': STRATEGIES}),
    st.tuples(UNTIL, STRATEGIES),
    st.tuples(UNTIL, STRATEGIES, SCALARS),
    JUNK,
)
FREEZE = st.fixed_dictionaries(
    {},
    optional={
        'strategy': STRATEGIES,
        'rules': st.one_of(RULES, RULES, JUNK),
        'phases': st.one_of(st.lists(PHASES, max_size=4), st.lists(PHASES, max_size=2), JUNK),
        'multipliers': st.one_of(PHASE_VALUES['multipliers'], JUNK),
        **{
            name: st.one_of(JUNK, st.sampled_from(['auto', 'train', 'frozen', 'freeze', 'reset']))
            for name in fields_of(FreezeSettings)
            if name not in ('strategy', 'rules', 'phases', 'multipliers')
        },
    },
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: st.one_of(
                st.fixed_dictionaries(
                    {}, optional={field.name: near(field) for field in dataclasses.fields(cls)}
                ),
                JUNK,
            )
            for name, cls in SECTIONS.items()
        },
        'freeze': st.one_of(STRATEGIES, FREEZE, JUNK),
        'seed': SCALARS,
        'init': SCALARS,
        'model': JUNK,
        'moddel': JUNK,
    },
)


def places(tree, path=()):
    """Paths of all nodes of a JSON value."""
    yield path
    if isinstance(tree, (dict, list)):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from places(tree[key], (*path, key))


def changed(tree, edits):
    """A JSON value with nodes, chosen by number, replaced or removed."""
    tree = copy.deepcopy(tree)
    for number, value, remove in edits:
        found = list(places(tree))
        path = found[number % len(found)]
        if not path:
            tree = value if number % 7 == 0 else tree
            continue
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        if remove:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
        if not isinstance(tree, (dict, list)):
            break
    return tree


NODES = st.one_of(
    JUNK,
    st.sampled_from(['array', 'dict', 'list', 'float', 'empty', 'nan', '../../etc', '00000']),
    st.builds(lambda k, v: {k: v}, st.sampled_from(['array', 'dict', 'list', 'empty']), JUNK),
)
EDITS = st.lists(st.tuples(st.integers(0, 10**6), NODES, st.booleans()), min_size=1, max_size=3)

VALID_FREEZE = (
    {'strategy': 'last:1+llrd:0.5', 'norm': 'auto', 'head': 'train', 'rewarm': 2},
    {
        'rules': [['head/.*', 'a'], ['block_01/.*', 'b'], ['.*', 'frozen']],
        'multipliers': {'a': 0.5, 'b': 1},
        'decay_vectors': True,
    },
    {
        'phases': [
            {'until': '20%', 'freeze': 'head', 'rate': 2.0, 'noise': 'off'},
            {
                'until': 7,
                'rules': [['head/.*', 'a'], ['.*', 'frozen']],
                'multipliers': {'a': 0.1},
                'anneal': {'a': 5},
                'restart': True,
                'reinit': ['head/.*'],
                'norm': 'frozen',
            },
            ['3 epochs', 'last:1'],
            [None, 'full', 0.5],
        ],
        'optimizer_state': 'keep',
    },
)
EDITED_FREEZE = st.builds(changed, st.sampled_from(VALID_FREEZE), EDITS)
EDITED_CONFIG = st.builds(
    changed,
    st.sampled_from(
        [to_jsonable(read_config({'freeze': freeze}).to_json()) for freeze in VALID_FREEZE]
    ),
    EDITS,
)


def plan_of(freeze):
    plan = make_plan(freeze, NET, SHAPES, run_length=RUN_LENGTH)
    json.dumps(to_jsonable(plan.to_json()))
    for phase in plan.phases:
        assert phase.start == int(phase.start) >= 0
        assert all(0 <= rate < math.inf for rate in phase.multipliers), freeze
    plan_table(plan, 1e-3)


@AMOUNT
def test_strategy_strings(amount):
    fuzz(amount, STRATEGIES, lambda text: ends_well(plan_of, text))


@AMOUNT
def test_phases_and_rules(amount):
    values = st.one_of(EDITED_FREEZE, EDITED_FREEZE, FREEZE, JUNK)
    fuzz(amount, values, lambda freeze: ends_well(plan_of, freeze))


@AMOUNT
def test_configs(amount):
    def check(values):
        config = read_config(copy.deepcopy(values))
        # What was accepted can be written down and read again.
        again = read_config(json.loads(json.dumps(to_jsonable(config.to_json()))))
        assert type(again) is type(config)

    values = st.one_of(EDITED_CONFIG, EDITED_CONFIG, CONFIGS)
    fuzz(amount, values, lambda given: ends_well(check, given))


ARRAYS = {'a': np.arange(3.0), 'b': np.float32(2), 'c': np.zeros((0, 2)), 'd': [1, -np.inf, None]}


def damaged_bytes(data, flips):
    data = bytearray(data)
    for place, value in flips:
        data[place % len(data)] = value
    return bytes(data)


FLIPS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3)


@AMOUNT
def test_checkpoint_manifests(amount, tmp_path):
    """Edited by someone who can compute its hash, or with bytes turned over."""
    skeleton, arrays = pack(ARRAYS)
    hashes = {'item': {name: array_hash(array) for name, array in arrays.items()}}
    manifest = make_manifest(3, {'item': skeleton}, hashes)
    file = tmp_path / '3' / MANIFEST
    file.parent.mkdir(parents=True)

    def read():
        found = SavedStep(tmp_path / '3')
        found.arrays = lambda stored: [arrays.get(leaf.number) for _, leaf in stored]
        found.load()

    def check(value):
        edits, rehash, flips = value
        body = changed({k: v for k, v in manifest.items() if k != 'sha256'}, edits)
        if rehash and isinstance(body, dict):
            body = {**body, 'sha256': json_hash(body)}
        file.write_bytes(damaged_bytes(json.dumps(body).encode() or b' ', flips))
        ends_well(read, also=(DamagedError,))

    rarely = st.one_of(st.just([]), FLIPS)
    fuzz(amount, st.tuples(EDITS, st.booleans() | st.just(True), rarely), check)


def test_a_forged_manifest_is_one_line_for_the_run(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, {'item': ARRAYS})
        checkpoints.wait()
        file = tmp_path / '3' / MANIFEST
        manifest = json.loads(file.read_text())
        del manifest['sha256']

        def check(edits):
            body = changed(manifest, edits)
            if isinstance(body, dict):
                body = {**body, 'sha256': json_hash(body)}
            file.write_text(json.dumps(body))
            for step in (3, None):
                ends_well(restored, tmp_path, step)

        fuzz(20, EDITS, check)


OFFSETS = st.one_of(st.tuples(st.integers(-2, 40), st.integers(-2, 40)).map(list), JUNK)
ROWS = st.one_of(
    st.fixed_dictionaries(
        {
            'dtype': st.one_of(st.sampled_from(sorted(DTYPES)), JUNK),
            'shape': st.one_of(st.lists(st.integers(-1, 4), max_size=3), JUNK),
            'data_offsets': OFFSETS,
        }
    ),
    JUNK,
)
HEADERS = st.one_of(
    st.dictionaries(st.one_of(st.text(max_size=5), st.just('__metadata__')), ROWS, max_size=3), JUNK
)


@AMOUNT
def test_safetensors_headers(amount, tmp_path):
    file = tmp_path / 'x.safetensors'

    def read():
        source = SafetensorsSource(file)
        for name in source.names:
            array = source.read(name)
            assert array.shape == tuple(source.shape(name)) and array.nbytes <= 40

    def check(value):
        header, length, data, flips = value
        text = json.dumps(header).encode()
        said = len(text) if length is None else length
        file.write_bytes(damaged_bytes(struct.pack('<Q', said) + text + data, flips))
        ends_well(read)

    lengths = st.none() | st.none() | st.integers(0, 2**64 - 1)
    fuzz(amount, st.tuples(HEADERS, lengths, st.binary(max_size=40), FLIPS), check)


@pytest.fixture(scope='module')
def fuzzing(repository):
    """scripts/fuzzing.py, which counts how inputs of each kind of file end."""
    sys.path.insert(0, str(repository / 'scripts'))
    try:
        import fuzzing

        fuzzing.all_kinds()
        return fuzzing
    finally:
        sys.path.remove(str(repository / 'scripts'))


@pytest.mark.parametrize(
    'amount', [1000, pytest.param(20_000, marks=pytest.mark.slow)], ids=['some', 'many']
)
def test_files_from_outside(amount, fuzzing, tmp_path, monkeypatch, record_property):
    """Wrong values at every place of every file: an error of one line, or success."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    tried, failures = 0, []
    for name, share in fuzzing.shares(amount, slow=amount > 1000).items():
        counts = fuzzing.fuzz(fuzzing.all_kinds()[name], share, tmp_path / name)
        record_property(name, counts.told())
        print(counts.told())
        tried += counts.tried
        failures += [f'{name}: {failure}' for failure in counts.failures]
        assert counts.refused, name  # an input that is never refused is not wrong enough
    assert tried >= amount
    assert not failures, '\n'.join(failures[:20])


def test_inputs_that_end_badly_are_counted_and_kept(fuzzing, tmp_path, monkeypatch):
    def read(folder, value):
        if value == 0:
            raise UserError('refused')
        if value == 1:
            raise KeyError('traceback')
        if value == 2:
            raise UserError('two\nlines')
        if value == 3:
            while True:
                pass
        if value == 4:
            bytearray(2**40)

    monkeypatch.setattr(fuzzing, 'SECONDS', 0.2)
    kind = fuzzing.Kind('x', lambda draw: iter(range(6)), read)
    counts = fuzzing.fuzz(kind, 6, tmp_path)
    assert (counts.tried, counts.refused, counts.success) == (6, 1, 1)
    for failure, word in zip(
        counts.failures, ('KeyError', 'one short line', 'OverLimit', 'MemoryError'), strict=True
    ):
        assert word in failure
    assert (tmp_path / 'failure-x-1').read_text() == '1'
