"""The decoder that ships, and the questions it is tuned on."""

import jax
import pytest

from ftjax.config import read_config
from ftjax.data import DataSettings, load_data
from ftjax.data.synthetic.docstring_questions import QUESTIONS, prompt_of, questions
from ftjax.data.synthetic.docstrings import unlabelled_sentences
from ftjax.errors import UserError
from ftjax.pretrained.locate.locate import SHIPPED
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.prepare import prepare


def test_questions_hang_on_more_than_the_sentence():
    found = questions()
    assert len(found) > 1000 and len({name for name, _, _ in found}) == len(found)
    kinds = [name.partition(':')[0] for name, _, _ in found]
    assert all(0.25 < kinds.count(kind) / len(kinds) < 0.42 for kind in QUESTIONS)
    name, prompt, answer = next(row for row in found if row[0].startswith('First'))
    text = prompt.removeprefix('First word of: ').removesuffix('\nAnswer:')
    assert answer == f' {text.split()[0]}' and prompt == prompt_of('First word', text), name
    seen = {sentence.text for sentence in unlabelled_sentences()}
    assert text not in seen  # the decoder was pretrained on others
    with pytest.raises(UserError, match=r'is for data\.task causal_lm'):
        load_data(DataSettings(source='docstrings:questions'))


@pytest.mark.slow
def test_the_decoder_that_ships_knows_its_register():
    assert (SHIPPED / 'docstrings_lm' / 'model.safetensors').stat().st_size < 1.5e6
    found = load_pretrained('docstrings_lm')
    assert found.network.is_decoder and found.preprocessing.end_id == 0
    assert sum(x.size for x in jax.tree.leaves(found.variables)) < 750_000
    data = {'source': 'docstrings:unlabelled', 'task': 'causal_lm', 'test_fraction': 0.03}
    prepared = prepare(
        read_config({'init': 'docstrings_lm', 'data': {**data, 'eval_batch_size': 64}})
    )
    metrics = split_metrics(prepared, prepared.variables)
    # 1,024 tokens: ln 1024 is 6.9, the entropy of their frequencies some 5.6.
    assert metrics['nll'] < 3.4 and metrics['bits_per_byte'] < 2.0
