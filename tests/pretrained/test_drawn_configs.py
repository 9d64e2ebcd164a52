"""Odd configurations drawn from the fields of transformers' classes: equal, or refused."""

import pytest
from drawn_comparison import judged, refusal
from drawn_configs import MODEL_TYPES, drawn

QUICK, ALL = 12, 200
"""Draws of a model type."""
WRONG_ONCE = [
    ('gemma3_text', 70),  # sees both sides, and no block has the window
]


@pytest.mark.parametrize('model_type', MODEL_TYPES)
def test_a_draw_is_a_network_or_a_refusal(model_type):
    refused = [refusal(drawn(model_type, number)[0]) for number in range(QUICK)]
    assert refused[0] is None, refused[0]
    assert sum(text is not None for text in refused) < QUICK - 1


@pytest.mark.torch
@pytest.mark.parametrize('model_type, number', WRONG_ONCE)
def test_draws_that_were_silently_wrong_once(model_type, number, tmp_path):
    pytest.importorskip('transformers')
    assert judged(model_type, number, tmp_path / 'model') == 'equal'


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize('model_type', MODEL_TYPES)
def test_a_draw_gives_the_outputs_of_transformers_or_is_refused(model_type, tmp_path):
    pytest.importorskip('transformers')
    wrong, equal = [], 0
    for number in range(ALL):
        outcome = judged(model_type, number, tmp_path / str(number))
        equal += outcome == 'equal'
        if outcome not in ('equal', 'refused', 'no model'):
            wrong.append((number, drawn(model_type, number)[0], outcome))
    assert not wrong, wrong[:3]
    assert equal > 0.2 * ALL
