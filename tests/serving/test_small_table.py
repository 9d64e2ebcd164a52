"""A table through a bundle, of a run without held-out examples: what it answers, what it is no
reference for, and what counts as a gap."""

import logging

import numpy as np
import pytest
import tiny_tasks

from ftjax import serving
from ftjax.errors import UserError
from ftjax.evaluation.predict import embedding
from ftjax.preprocessing.table_features import CategoryColumn, NumberColumn, TablePreprocessing
from ftjax.runs.prediction.answering import answers_to
from ftjax.runs.prediction.trained import open_trained
from ftjax.serving.bundle.input_measures import measure_names, measured
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.raw_inputs import TableReader
from ftjax.serving.bundle.reference import check_monitored, read_reference

ROWS = [{'age': 30.5, 'town': 'Ulm'}, {'age': None, 'town': 'Rom'}, {'age': 71, 'town': 'Paris'}]


def test_the_embedding_of_rows_needs_no_mask_of_tokens():
    hidden, inputs = np.ones((2, 3)), {'features': np.zeros((2, 5)), 'codes': np.zeros((2, 1))}
    np.testing.assert_array_equal(embedding({'hidden': hidden}, inputs), hidden)
    tokens = np.array([[[1.0], [3.0], [9.0]]])
    found = embedding({'hidden': tokens}, {'attention_mask': np.array([[1, 1, 0]])})
    assert found.tolist() == [[2.0]]


def test_a_run_on_all_rows_is_served_and_is_no_reference_of_traffic(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, 'ftjax.serving'):
        made = tiny_tasks.values(tmp_path, 'last', val_fraction=0.0, test_fraction=0.0)
    assert 'no validation and no test examples' in caplog.text
    bundle = serving.load(made.bundle)
    expected = answers_to(open_trained(str(made.run)), ROWS, {}, batch_size=len(ROWS)).rows
    found = bundle.predict(ROWS)
    assert [row['predicted'] for row in found] == [float(row['predicted']) for row in expected]
    reference = read_reference(made.bundle, bundle.signature)
    assert (reference.split, reference.count) == ('train', 120)
    assert len(reference.nearest(reference.features[:1], 2)[0]) == 2
    with pytest.raises(UserError, match='were trained on'):
        check_monitored(reference)
    card = (made.bundle / 'README.md').read_text()
    assert 'examples of the training split' in card and 'validation split' not in card


@pytest.mark.parametrize(
    ('gap', 'of_words'),
    [(None, 1), ('', 1), (' ', 1), (float('nan'), 1), ('NA', 0), ('nan', 0), ('null', 0), ('?', 0)],
)
def test_gaps_are_counted_as_the_network_reads_them(gap, of_words):
    age = NumberColumn(name='age', mean=30.0, deviation=10.0, fill=40.0, indicator=True)
    town = CategoryColumn(name='town', levels=('NA', 'Ulm'), fill='Ulm')
    reader = TableReader(TablePreprocessing(numbers=(age,), categories=(town,)))
    assert measure_names(reader) == ('gaps', 'no age', 'no town')
    for raw, told in (
        ({'age': gap, 'town': 'NA'}, [1, 1, 0]),
        ({'age': 30, 'town': gap}, [of_words, 0, of_words]),
    ):
        read = reader.read(raw)
        assert measured(reader, raw, InputRows((read,))).tolist() == told
        assert read['features'][1] == told[1]  # the indicator that the network gets
