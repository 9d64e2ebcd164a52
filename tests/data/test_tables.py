"""Tables of numbers and categories: read, filled, standardised and kept with the network."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ftjax.config import read_config
from ftjax.data import DataSettings, TrainStream, load_data
from ftjax.data.audit.examples import Examples
from ftjax.data.audit.measures.duplicates import find_duplicates
from ftjax.data.synthetic.payments import payments
from ftjax.data.tables.fitted_columns import in_features, table_preprocessing
from ftjax.data.unlabelled.python_items import python_items
from ftjax.errors import UserError
from ftjax.preprocessing.table_features import TablePreprocessing
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.assessment.examination import examine
from ftjax.runs.evaluate import chosen_threshold, split_metrics
from ftjax.runs.prediction.answer_options import answer_options
from ftjax.runs.prediction.new_inputs import outputs_of_source
from ftjax.runs.prediction.trained import open_trained
from ftjax.runs.prepare import prepare
from ftjax.runs.report.run_report import RunReport
from ftjax.runs.run import train

RNG = np.random.default_rng(0)
SPLIT = {'val_fraction': 0.2, 'test_fraction': 0.2}


@pytest.fixture
def people(tmp_path):
    """80 rows: a number with gaps, a whole number, a category, a constant, a label."""
    lines = ['age,visits,town,one,label']
    for i in range(80):
        age = ('', 'NA')[i % 2] if i % 7 == 3 else f'{RNG.normal(40, 10):.2f}'
        town = '' if i == 5 else ('Bonn', 'Ulm', 'Rom')[i % 3]
        lines.append(f'{age},{RNG.integers(9)},{town},1,{"ab"[i % 2]}')
    path = tmp_path / 'people.csv'
    path.write_text('\n'.join(lines))
    return path


def settings(path, **more):
    given = {'features': ('age', 'visits', 'town', 'one'), **SPLIT, **more}
    return DataSettings(source=f'csv:{path}', **given)


def test_features_are_those_of_scikit_learn(people):
    asked = settings(people, missing={'age': 'median:true', 'town': 'mode'})
    data = load_data(asked)
    found = table_preprocessing(data.train, asked)
    train_rows, test_rows = data.train.inputs, data.test.inputs
    assert train_rows.number_names == ('age', 'visits', 'one') and train_rows.word_names == (
        'town',
    )
    scaler = make_pipeline(SimpleImputer(strategy='median'), StandardScaler())
    scaler.fit(train_rows.numbers[:, :2])  # `one` never varies and is left out
    numbers = scaler.transform(test_rows.numbers[:, :2])
    fill = SimpleImputer(strategy='most_frequent', missing_values='').fit(train_rows.words)
    hot = OneHotEncoder(sparse_output=False).fit(fill.transform(train_rows.words))
    gaps = np.isnan(test_rows.numbers[:, :1])
    want = [numbers[:, :1], gaps, numbers[:, 1:], hot.transform(fill.transform(test_rows.words))]
    got = in_features(data.test, found)
    np.testing.assert_allclose(got['features'], np.concatenate(want, 1), rtol=1e-5, atol=1e-6)
    assert gaps.any() and got['features'].shape[1] == found.features == 6
    assert TablePreprocessing.from_json(json.loads(json.dumps(found.to_json())), 'x') == found


@pytest.mark.parametrize('value', [0.1, 1.1, 2.7])
def test_a_column_of_equal_floats_never_varies(tmp_path, value):
    assert np.full(65, value).std() > 0  # their sum is rounded
    for part, other in (('train', value), ('val', value), ('test', 2 * value)):
        rows = [f'{i},{other},{"" if i % 9 == 4 else value},{i % 7}' for i in range(65)]
        (tmp_path / f'{part}.csv').write_text('\n'.join(['age,fee,tax,label', *rows]))
    asked = DataSettings(
        source=f'csv:{tmp_path}',
        task='regression',
        features=('age', 'fee', 'tax'),
        missing={'tax': 'mean'},
    )
    found = table_preprocessing(load_data(asked).train, asked)
    assert [column.name for column in found.numbers] == ['age']


def test_equal_rows_of_two_splits_are_found(people):
    data = load_data(settings(people, missing={'age': 'mean', 'town': 'mode'}))
    both = dataclasses.replace(data, test=data.train.take([3, 4]))
    examples = Examples(both)
    found = find_duplicates(examples)
    exact, near = found.leaks(examples, 2)
    assert (exact - examples.starts[2]).tolist() == [0, 1] and not len(near)
    rows = [row for part in examples.parts for row in part.inputs.rows]
    assert sum(map(len, found.same)) == sum(rows.count(row) > 1 for row in rows) < len(rows)


def test_groups_are_no_feature(people):
    text = people.read_text().splitlines()
    numbered = [f'{line},{"house" if not i else i // 2}' for i, line in enumerate(text)]
    people.write_text('\n'.join(numbered))
    found = load_data(settings(people, features=('*',), missing='mean', group_column='house'))
    assert found.train.inputs.number_names == ('age', 'visits', 'one')
    assert not {*found.train.groups} & {*found.test.groups}
    assert found.train.inputs.told(0).startswith(('age', 'visits'))


def test_fitted_on_training_rows_alone(people):
    asked = settings(people, missing={'age': 'mean', 'town': 'constant:none'})
    data = load_data(asked)
    found = table_preprocessing(data.train, asked)
    other = data.test.inputs.numbers.copy()
    other[:] = 1e6
    moved = dataclasses.replace(data.test.inputs, numbers=other)
    assert found == table_preprocessing(data.train, asked)
    changed = dataclasses.replace(data, test=dataclasses.replace(data.test, inputs=moved))
    assert table_preprocessing(changed.train, asked) == found
    assert changed.fingerprint != data.fingerprint
    assert found.categories[0].levels == ('Bonn', 'Rom', 'Ulm', 'none')


def test_a_number_that_only_has_gaps_keeps_its_indicator(people):
    text = people.read_text().splitlines()
    gone = [f'{line},{"seen" if not i else "" if i % 3 else 1}' for i, line in enumerate(text)]
    people.write_text('\n'.join(gone))
    asked = settings(people, features=('seen',), missing='constant:1,true')
    data = load_data(asked)
    found = table_preprocessing(data.train, asked)
    features = in_features(data.train, found)['features']
    gaps = np.isnan(data.train.inputs.numbers[:, 0])
    np.testing.assert_array_equal(features, np.stack([0 * gaps, gaps], axis=1))
    with pytest.raises(UserError, match="'town' has an indicator, which only numbers have"):
        load_data(settings(people, missing={'age': 'median:true', 'town': 'mode:true'}))


def test_levels_that_training_has_not_seen_are_unknown(people):
    asked = settings(people, missing={'age': 'median', 'town': 'mode'}, categories='embed')
    data = load_data(asked)
    found = table_preprocessing(data.train, asked)
    assert found.codes == (4,)
    words = data.test.inputs.words.copy()
    words[0, 0] = 'Wien'
    test = dataclasses.replace(data.test, inputs=dataclasses.replace(data.test.inputs, words=words))
    codes = in_features(test, found)['codes']
    assert codes[0, 0] == 0 and codes[1:].min() >= 1 and codes.dtype == np.int32


def test_all_columns_of_numbers(people):
    data = load_data(settings(people, features=('*',), missing='median'))
    assert data.train.inputs.number_names == ('age', 'visits', 'one')
    assert not data.train.inputs.word_names


@pytest.mark.parametrize(
    'more,message',
    [
        ({}, "'age' is 'NA'; expected a number (so it is in 11 of 80 rows: people.csv lines 5, 12"),
        ({'features': ('agee',)}, "unknown column in data.features: 'agee'; did you mean 'age'"),
        ({'features': ('label',)}, "'label' is the label, split or group column"),
        ({'missing': {'town': 'mean', 'age': 'drop'}}, 'takes error, drop, mode or constant'),
        ({'categories': 'hot'}, 'data.categories'),
        ({'features': ('one',)}, 'no column of data.features varies'),
        ({'missing': {'age': 'constant:x', 'town': 'mode'}}, "constant must be a number, not 'x'"),
        ({'missing': 'median'}, "of column 'town' is 'median'; a category takes"),
    ],
)
def test_what_cannot_be_read_is_said(people, more, message):
    with pytest.raises(UserError) as found:
        asked = settings(people, **more)
        table_preprocessing(load_data(asked).train, asked)
    assert message in str(found.value)


def test_rows_without_a_number_are_dropped_and_said(people):
    data = load_data(settings(people, missing='drop'))
    assert len(data.train) + len(data.val) + len(data.test) == 68
    assert any("11 rows left out without a value in 'age'" in note for note in data.notes)


def test_a_number_missing_only_later_is_refused_by_name():
    data = load_data(DataSettings(source='breast_cancer', **SPLIT))
    found = table_preprocessing(data.train, DataSettings(source='breast_cancer'))
    numbers = data.test.inputs.numbers.copy()
    numbers[3, 2] = np.nan
    test = dataclasses.replace(
        data.test, inputs=dataclasses.replace(data.test.inputs, numbers=numbers)
    )
    with pytest.raises(UserError, match=r"mass_\d+: no value in 'mean perimeter', as in 1 of 114"):
        in_features(test, found)


def test_payments_are_the_same_for_the_same_seed():
    one, two = payments(3000, 5), payments(3000, 5)
    assert one[0].signature == two[0].signature and (one[1] == two[1]).all()
    assert one[1].sum() == 30 and payments(3000, 6)[0].signature != one[0].signature


def config(**data):
    return read_config(
        {
            'init': '',
            'model': {'name': 'mlp', 'width': 16, 'depth': 2},
            'data': {'source': 'fraud:2000', 'missing': {'balance': 'median:true'}, **data},
            'optimizer': {'learning_rate': 3e-3},
            'train': {'steps': 200, 'threshold': 'f1', 'class_weights': 'balanced'},
        }
    )


@pytest.mark.parametrize('categories', [pytest.param('one_hot', marks=pytest.mark.slow), 'embed'])
def test_a_network_of_a_table_is_trained_saved_and_read_again(categories, tmp_path):
    prepared = prepare(config(categories=categories))
    assert prepared.network.stages == ('embed', 'block_00', 'block_01', 'head')
    fitted, result = train(prepared, tmp_path / 'run', progress=False)
    assert result['metrics']['auroc'] > 0.7 and result['metrics']['n'] == 400
    found = load_pretrained(str(tmp_path / 'run'))
    assert found.preprocessing == prepared.preprocessing
    read = dataclasses.replace(prepared, network=found.network, preprocessing=found.preprocessing)
    assert split_metrics(read, found.variables) == result['metrics']
    assert chosen_threshold(read, found.variables) == found.threshold
    opened = open_trained(str(tmp_path / 'run'))
    known = examine(opened, prepared.data.test).metrics  # at the threshold of the run
    assert known == result['metrics'] and known['threshold'] == opened.threshold
    check_predictions(opened, prepared.data.test, known, tmp_path / 'new.csv')
    kept = RunReport.read(tmp_path / 'run').kept
    assert kept.about['kind'] == 'rows' and 'amount' in str(kept.about['mistakes'])
    # Frozen blocks: the run starts from the saved network, with its preprocessing.
    start = read_config({**config(categories=categories).to_json(), 'freeze': 'head', 'model': {}})
    start = dataclasses.replace(start, init=str(tmp_path / 'run'))
    after, _ = train(prepare(start, prepared.data), progress=False)
    kept, moved = after.variables['params'], fitted.variables['params']
    for stage in ('embed', 'block_00', 'block_01'):
        for a, b in zip(*(leaves(tree[stage]) for tree in (kept, moved)), strict=True):
            np.testing.assert_array_equal(a, b)


def check_predictions(opened, test, known, path):
    """Answers on a file of the test split's rows are those of its evaluation, to the bit."""
    table, broken = test.inputs, 3
    names = [*table.word_names, *reversed(table.number_names)]  # any order will do
    lines = [','.join(names)]
    for numbers, words in zip(table.numbers.tolist(), table.words, strict=True):
        cells = ['' if n != n else repr(n) for n in reversed(numbers)]
        lines.append(','.join([*words, *cells]))
    row = dict(zip(names, lines[1].split(','), strict=True)) | {'amount': 'much'}
    lines.insert(broken, ','.join(row.values()))
    path.write_text('\n'.join(lines))
    failed = []
    parts = list(outputs_of_source(opened, str(path), failed.append))
    outputs = np.concatenate([part.values for part in parts])
    np.testing.assert_array_equal(outputs, examine(opened, test).outputs)
    assert [(each.id, each.reason) for each in failed] == [
        ('new.csv:4', "'amount' is 'much'; expected a number")
    ]
    options, said = answer_options(opened)
    answered = np.array([row['predicted'] for part in parts for row in part.rows(opened, options)])
    counts = [
        [int(((test.labels == label) & (answered == name)).sum()) for name in opened.class_names]
        for label in (0, 1)
    ]
    assert counts == known['confusion_matrix'] and 'as in the run' in said[0]
    (unread,) = python_items([row], False, opened.table)
    assert 'expected a number' in unread.reason
    del row['amount']
    with pytest.raises(UserError, match="no column 'amount'"):
        list(python_items([row], False, opened.table))


def leaves(tree):
    import jax

    return jax.tree.leaves(tree)


def test_kinds_of_data_and_network_must_agree():
    with pytest.raises(UserError, match='takes rows of a table, the data are images'):
        prepare(read_config({'init': '', 'model': {'name': 'mlp'}, 'data': {'source': 'digits'}}))
    cifar = {'name': 'resnet_bn_cifar', 'depth': 8}
    with pytest.raises(UserError, match='takes images, the data are rows of a table'):
        prepare(read_config({'init': '', 'model': cifar, 'data': {'source': 'breast_cancer'}}))
    with pytest.raises(UserError, match=r"data\.tta 'flip' is for images"):
        prepare(config(tta='flip'))
    data = load_data(config().data)
    with pytest.raises(UserError, match='takes no augmentation'):
        TrainStream(data.train, 8, 0, None, prepare(config(), data).preprocessing, 'flip')


def test_hidden_features_are_those_of_other_rows_and_the_only_ones_asked_for():
    asked = dataclasses.replace(config().data, task='masked_features')
    data = load_data(asked)
    found = table_preprocessing(data.train, asked)
    stream, again = (TrainStream(data.train, 50, 3, preprocessing=found) for _ in range(2))
    whole = in_features(data.train, found)['features']
    batch = stream.batch(4)
    rows = whole[batch['index']]
    hidden = batch['mask'] > 0
    np.testing.assert_array_equal(batch['labels'][hidden], rows[hidden])
    np.testing.assert_array_equal(batch['inputs']['features'][~hidden], rows[~hidden])
    assert (hidden.sum(1) == round(0.3 * found.features)).mean() > 0.95
    for column in range(found.features):
        assert np.isin(batch['inputs']['features'][:, column], whole[:, column]).all()
    np.testing.assert_array_equal(batch['inputs']['features'], again.batch(4)['inputs']['features'])


@pytest.mark.slow
def test_a_network_pretrained_on_hidden_features_gets_a_new_head(tmp_path):
    values = config().to_json()
    values['data'] |= {'task': 'masked_features'}
    values['train'] |= {'threshold': '', 'class_weights': '', 'steps': 400}
    prepared = prepare(read_config(values))
    assert prepared.network.is_reconstruction
    fitted, result = train(prepared, tmp_path / 'pre', progress=False)
    metrics = result['metrics']
    assert metrics['explained'] > 0.02 and metrics['rows'] == 400
    after = read_config({**config().to_json(), 'freeze': 'head', 'model': {}})
    started = prepare(dataclasses.replace(after, init=str(tmp_path / 'pre')))
    assert started.opened.head_is_new and not started.network.is_reconstruction
    for a, b in zip(
        leaves(started.variables['params']['block_01']),
        leaves(fitted.variables['params']['block_01']),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UserError, match='a head that guesses features do not'):
        wrong = {**values, 'model': {**values['model'], 'num_classes': 2}}
        prepare(read_config(wrong))


@pytest.fixture
def houses(tmp_path):
    """240 rows with a price of some 300,000 that two columns explain, up to noise of 5,000."""
    rng = np.random.default_rng(3)
    lines = ['size,rooms,label']
    for _ in range(240):
        size, rooms = rng.uniform(40, 200), rng.integers(1, 7)
        price = 50_000 + 1_800 * size + 6_000 * rooms + rng.normal(0, 5_000)
        lines.append(f'{size:.1f},{rooms},{price:.0f}')
    path = tmp_path / 'houses.csv'
    path.write_text('\n'.join(lines))
    return {
        'init': '',
        'model': {'name': 'mlp', 'width': 16, 'depth': 1},
        'data': {'source': f'csv:{path}', 'features': ('*',), 'task': 'regression'},
        'optimizer': {'learning_rate': 1e-2},
        'train': {'steps': 200},
    }


@pytest.mark.slow
def test_values_are_learned_in_units_of_their_deviation_and_told_in_their_own(houses, tmp_path):
    prepared = prepare(read_config(houses))
    labels = prepared.data.train.labels.astype(np.float64)
    network = prepared.network
    assert network.target_scale == pytest.approx(labels.std())
    assert network.target_mean == pytest.approx(labels.mean())
    _, result = train(prepared, tmp_path / 'run', progress=False)
    metrics = result['metrics']
    assert metrics['r2'] > 0.95 and 2_000 < metrics['rmse'] < 20_000  # of prices, not deviations
    found = load_pretrained(str(tmp_path / 'run'))
    read = dataclasses.replace(prepared, network=found.network, preprocessing=found.preprocessing)
    assert split_metrics(read, found.variables) == metrics
    head = found.variables['params']['head']['dense']['kernel']
    assert np.abs(head).max() < 10
    step = spec_of(prepared)
    assert step.loss.target_scale == network.target_scale
    kept = prepare(read_config({**houses, 'init': str(tmp_path / 'run'), 'model': {}}))
    assert kept.network.target_mean == network.target_mean and not kept.opened.head_is_new


def spec_of(prepared):
    from ftjax.runs.run_spec import run_spec

    return run_spec(prepared).train_step(prepared.plan.at(0))
