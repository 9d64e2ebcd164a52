"""A network of the wrong kind for a task: the message says which kind it needs, by names."""

import json
import re
import subprocess
import sys

import pytest

from ftjax.config import read_config
from ftjax.data.matching import DECODERS, NETWORKS
from ftjax.errors import UserError
from ftjax.pretrained.open import outline
from ftjax.registry import parts
from ftjax.runs.prepare import prepare

ROWS = {
    'embedding': {'anchor': 'a {}', 'positive': 'b {}'},
    'token_classification': {'words': ['a', '{}'], 'tags': ['O', 'B-A']},
    'multiple_choice': {'prompt': 'a {}', 'choices': ['b', 'c'], 'label': 0},
    'causal_lm': {'text': 'a {}'},
}


def refusal(tmp_path, init, task, **more):
    path = tmp_path / 'rows.jsonl'
    text = json.dumps(ROWS[task])
    path.write_text('\n'.join(text.replace('{}', f'w{n}') for n in range(30)))
    data = {'source': f'jsonl:{path}', 'task': task}
    with pytest.raises(UserError) as error:
        prepare(read_config({'init': init, 'data': data, **more}), weights=False)
    return str(error.value)


@pytest.mark.parametrize('task', ROWS)
def test_a_network_of_images_for_texts(tmp_path, task):
    """What the task sets of networks of texts is nothing of a ViT: that is not the point."""
    said = refusal(tmp_path, 'glyphs', task)
    assert 'ViT takes images, the data are texts' in said
    assert said.count(DECODERS if task == 'causal_lm' else NETWORKS['texts']) == 1
    if task == 'embedding':
        assert refusal(tmp_path, '', task, model={'name': 'vit'}) == said


def test_an_encoder_for_the_next_token(tmp_path):
    said = refusal(tmp_path, 'docstrings', 'causal_lm')
    assert 'BERT sees those after it too' in said and DECODERS in said


def test_weights_that_know_their_tokens_take_no_tokenizer_made_anew():
    data = {'source': 'docstrings', 'tokenizer': 'wordpiece:128', 'examples_per_class': 4}
    with pytest.raises(UserError, match=r"'wordpiece:128' makes .* 'docstrings' .* random:docstr"):
        prepare(read_config({'init': 'docstrings', 'data': data}), weights=False)
    tokens = prepare(read_config({'init': 'random:docstrings', 'data': data}), weights=False)
    assert tokens.preprocessing.tokenizer


def test_an_encoder_for_images():
    with pytest.raises(UserError, match=re.escape(NETWORKS['images'])):
        prepare(read_config({'init': 'docstrings', 'data': {'source': 'digits'}}), weights=False)


@pytest.mark.parametrize('takes', [*NETWORKS, 'decoder'])
def test_what_a_message_names_is_there(takes):
    said = DECODERS if takes == 'decoder' else NETWORKS[takes]
    names = re.findall(r"(?:\(|, |name=')([a-z0-9_]+)(?=[,;'])", said)
    assert names and all(name in parts('model') for name in names)
    for shipped in re.findall(r'shipped: (\w+)', said):
        network = outline(shipped).network
        assert network.takes == ('texts' if takes == 'decoder' else takes)
        assert network.is_decoder == (takes == 'decoder')


def test_plan_refuses_a_source_of_forgetting_as_a_run_does(repository, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, 'scripts/plan.py', '--config=configs/instruct.py'),
            f'--config.train.forgetting=jsonl:{tmp_path}/none.jsonl',
        ],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'no file' in done.stderr and 'none.jsonl' in done.stderr
