"""Heads for another task are left out, whatever their tensors are called, and that is said."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from ftjax.pretrained import families
from ftjax.pretrained.open import outline
from ftjax.pretrained.readers import open_source
from ftjax.pretrained.readers.safetensors_file import write_safetensors

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
TOKENS, QUESTIONS = 'ForTokenClassification', 'ForQuestionAnswering'
# golden, class, head in the golden's file, the head's tensors there and what that class calls them
CASES = [
    ('llama', 'Llama' + TOKENS, 'score', ('score',), 'model.'),
    ('llama', 'Llama' + QUESTIONS, 'score', ('qa_outputs',), 'transformer.'),
    ('qwen3', 'Qwen3' + TOKENS, 'score', ('score',), 'model.'),
    ('gpt2', 'GPT2' + TOKENS, 'score', ('classifier',), 'transformer.'),
    ('gpt2', 'GPT2' + QUESTIONS, 'score', ('qa_outputs',), 'transformer.'),
    ('bert', 'Bert' + TOKENS, 'classifier', ('classifier',), 'bert.'),
    ('bert', 'BertForMultipleChoice', 'classifier', ('classifier',), 'bert.'),
    ('distilbert', 'DistilBert' + QUESTIONS, 'classifier', ('qa_outputs',), 'distilbert.'),
    ('electra', 'Electra' + TOKENS, 'classifier', ('classifier',), 'electra.'),
    ('roberta', 'Roberta' + TOKENS, 'classifier', ('classifier',), 'roberta.'),
]


@pytest.mark.parametrize('golden, name, head, others, base', CASES, ids=lambda x: str(x))
def test_a_head_for_another_task_is_left_out_and_said(golden, name, head, others, base, tmp_path):
    shutil.copytree(GOLDENS / golden / 'model', tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / 'config.json').read_text())
    config['architectures'] = [name]
    (tmp_path / 'config.json').write_text(json.dumps(config))
    source, rows = open_source(tmp_path), {}
    for tensor in source.names:
        if not tensor.startswith((head, 'pre_classifier')):
            old = tensor.partition('.')[0] + '.'
            values = source.read(tensor)
            rows[base + tensor.removeprefix(old)] = values
    classes = len(config.get('id2label') or 'ab')
    width = next(config[key] for key in ('hidden_size', 'n_embd', 'dim') if key in config)
    for other in others:
        rows[f'{other}.weight'] = np.ones((classes, width), np.float32)
        rows[f'{other}.bias'] = np.ones(classes, np.float32)
    write_safetensors(
        tmp_path / 'model.safetensors',
        {k: (v.dtype, v.shape, lambda v=v: v) for k, v in rows.items()},
    )
    bare = outline(str(tmp_path))
    if name.endswith(TOKENS) and head == 'classifier':  # of an encoder: it opens as a tagger
        assert (bare.head, bare.network.head_kind) == ('kept', 'tags')
    else:
        assert (bare.head, 'head' in bare.network.stages) == ('none', False)
    made = outline(str(tmp_path), num_classes=classes)
    assert made.head == 'new'
    skipped = made.report().skipped
    for other in others:
        assert f'{other}.weight' in skipped
    if others[0] in ('score', 'classifier') and golden not in ('gpt2', 'roberta', 'electra'):
        assert skipped[f'{others[0]}.weight'] == (
            f'of the head of {name}, which is for another task'
        )


ENCODERS = ('bert', 'roberta', 'distilbert', 'electra', 'albert', 'deberta', 'modernbert', 'mpnet')


@pytest.mark.parametrize('classes', [3, 5])
@pytest.mark.parametrize('golden', ENCODERS)
def test_a_tagger_starts_from_a_classifier_of_texts(golden, classes):
    folder = GOLDENS / golden / 'model'
    made = outline(str(folder), num_classes=classes, options={'pool': 'none'})
    assert (made.head, made.network.head_kind) == ('new', 'tags')
    report = made.report()
    assert {key.split('/')[1] for key in report.initialised} == {'head'}
    last = 'classifier.out_proj' if golden in ('roberta', 'electra', 'mpnet') else 'classifier'
    assert f'{last}.weight' in report.skipped


@pytest.mark.parametrize('golden', [name for name in ENCODERS if name != 'modernbert'])
def test_an_embedding_model_starts_from_a_classifier_of_texts(golden):
    folder = str(GOLDENS / golden / 'model')
    made = outline(folder, num_classes=0, options={'head': 'vector'})
    assert (made.network.head_kind, made.report().initialised) == ('vector', {})
    assert 'pooler' not in made.network.stages


@pytest.mark.parametrize(
    'family, own, common',
    [
        ('distilbert', 'seq_classif_dropout', 'dropout'),
        ('deberta', 'cls_dropout', 'hidden_dropout_prob'),
        ('bert', 'classifier_dropout', None),
    ],
)
def test_dropout_before_a_head_of_tags_is_that_of_its_class(family, own, common):
    read = families.module(family).network_from_config
    config = {own: 0.4, **({common: 0.3} if common else {})}
    assert read(config, num_classes=3).head_dropout == 0.4
    tagger = read(config, num_classes=3, pool='none')
    assert tagger.head_dropout == (0.3 if common else 0.4)
