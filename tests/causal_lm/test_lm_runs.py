"""A run of a decoder from config to texts: adapters, forgetting, packing, prompts of its split."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_decoder import SIZES, decoder, drawn_texts, initial, preprocessing_of

from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.evaluation.generation.sampling import GREEDY, Sampling
from ftjax.freezing.plan.plan import make_plan
from ftjax.models.registry import build
from ftjax.pretrained.own_format import save_own
from ftjax.runs.prediction import generating
from ftjax.runs.prediction.generating import answers_of, read_prompts
from ftjax.runs.prediction.trained import open_trained, reading_settings
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.runs.training_summary import training_summary


def lines(path, rows):
    path.write_text('\n'.join(map(json.dumps, rows)))
    return f'jsonl:{path}'


@pytest.fixture
def base(tmp_path):
    """A decoder in a folder, and a config that trains it on completions that copy the prompt."""
    net = decoder(depth=1)
    preprocessing = preprocessing_of(net, tmp_path, max_length=16, buckets=(8, 16))
    save_own(tmp_path / 'base', net, initial(net, scale=2), preprocessing)
    given = drawn_texts(60, longest=3)
    pairs = [{'prompt': text, 'completion': text} for text in given]
    general = lines(tmp_path / 'general.jsonl', [{'text': text} for text in drawn_texts(20, 5)])
    data = {
        'source': lines(tmp_path / 'pairs.jsonl', pairs),
        'task': 'causal_lm',
        'batch_size': 8,
        'eval_batch_size': 8,
        'max_length': 16,
    }
    return {
        'init': str(tmp_path / 'base'),
        'data': data,
        'freeze': 'lora:2',
        'optimizer': {'learning_rate': 1e-2},
        'train': {'steps': 8, 'eval_every': 1.0, 'forgetting': general},
    }


def test_the_head_that_came_stays_frozen_unless_it_is_chosen(base):
    prepared = prepare(read_config(base))
    assert not prepared.opened.head_is_new  # a language model keeps its head
    assert 'learns' in prepared.first_screen()

    loaded = prepared.opened.network, prepared.opened.variables

    def head_trains(freeze):
        plan = make_plan(freeze, *loaded, head_is_new=False)
        return any(path.startswith('head') for path in plan.at(0).trainable)

    assert not any(map(head_trains, ('last:1', 'norm', 'first:1')))
    assert head_trains('full') and head_trains('head')
    assert head_trains({'strategy': 'last:1', 'head': 'train'})
    assert not any(path.startswith('head') for path in prepared.plan.at(0).trainable)


@pytest.mark.slow
@pytest.mark.parametrize('packing', [False, True])
def test_a_call_may_hold_the_end_of_an_epoch(base, packing):
    data = {**base['data'], 'packing': packing}
    settings = {'steps': 11, 'eval_every': 11 / 4, 'steps_per_call': 3, 'forgetting': ''}
    prepared = prepare(read_config({**base, 'data': data, 'train': settings}))
    assert prepared.run_length.steps_per_epoch == 4
    (row,) = train(prepared, progress=False)[0].history
    assert row['step'] == 11 and np.isfinite(row['train_loss'])


@pytest.mark.slow
def test_a_run_tells_what_was_forgotten_and_writes_texts(base, tmp_path):
    prepared = prepare(read_config(base))
    _, result = train(prepared, tmp_path / 'run', progress=False)
    assert result['frozen_unchanged'] and result['metrics']['task'] == 'causal_lm'
    found = result['forgetting']
    assert found['metric'] == 'nll' and found['n'] == 20
    assert found['change'] == pytest.approx(found['after'] - found['before'], abs=1e-9)
    low, high = found['change_interval']
    assert low <= found['change'] <= high and 'forgetting on jsonl' in training_summary(
        prepared, result
    )
    trained = open_trained(str(tmp_path / 'run'))
    prompts = read_prompts(trained, 'test')
    assert len(prompts) == len(prepared.data.test) and prompts[0].reference is not None
    rows, metrics = answers_of(trained, prompts, sampling=GREEDY, new_tokens=4, progress=False)
    assert metrics['n'] == len(rows) and {'exact_match', 'rouge_l_interval'} <= metrics.keys()
    # What one network has written teaches another.
    columns = {'text_column': 'prompt', 'text_pair_column': 'answer', 'missing': 'drop'}
    taught = {**base['data'], 'source': lines(tmp_path / 'written.jsonl', rows), **columns}
    texts = prepare(read_config({**base, 'data': taught})).data.train.inputs
    written = {(row['prompt'], row['answer']) for row in rows}
    assert len(texts) and {tuple(each) for each in texts} <= written
    plain = tmp_path / 'prompts.txt'
    plain.write_text('a bb\n\nccc\n')
    rows, metrics = answers_of(
        *(trained, read_prompts(trained, str(plain))), sampling=GREEDY, new_tokens=4, progress=False
    )
    assert [row['id'] for row in rows] == ['prompts.txt:1', 'prompts.txt:3'] and not metrics
    said = [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'bb'}]
    talk = lines(tmp_path / 'talk.jsonl', [{'messages': said}]).removeprefix('jsonl:')
    (prompt,) = read_prompts(trained, talk)
    assert prompt.written and prompt.reference == 'bb'
    assert prompt.text.endswith('<|im_start|>assistant\n')


def test_prompts_of_a_split_keep_their_groups(base, tmp_path, monkeypatch):
    rows = [{'prompt': 'a', 'completion': 'a', 'who': f'{n % 20}'} for n in range(60)]
    source = lines(tmp_path / 'groups.jsonl', rows)
    data = {**base['data'], 'source': source, 'group_column': 'who'}
    (tmp_path / 'config.json').write_text(json.dumps({**base, 'data': data}))
    trained = open_trained(base['init'], task='causal_lm')
    trained = dataclasses.replace(trained, run=tmp_path)
    prompts = read_prompts(trained, 'test')
    known = {prompt.group for prompt in prompts}
    assert len(prompts) == 3 * len(known) and None not in known
    monkeypatch.setattr(generating, 'continued', lambda *given, **how: ['a'] * len(prompts))
    _, metrics = answers_of(trained, prompts, sampling=GREEDY, progress=False, new_tokens=4)
    assert metrics['groups'] == len(known) and metrics['exact_match'] == 1


def test_what_cannot_be_forgotten_or_written_is_said(base, tmp_path):
    config = read_config(base)
    fresh = {**base, 'init': f'random:{base["init"]}'}
    with pytest.raises(UserError, match='its head is new'):
        train(prepare(read_config(fresh)), progress=False)
    tags = dataclasses.replace(prepare(config), opened=None)
    with pytest.raises(UserError, match='nothing that it could forget'):
        train(tags, progress=False)
    trained = open_trained(base['init'], task='causal_lm')
    with pytest.raises(UserError, match='is no run'):
        read_prompts(trained, 'test')
    with pytest.raises(UserError, match='no file'):
        read_prompts(trained, str(tmp_path / 'none.jsonl'))
    of_a_run = dataclasses.replace(trained, run=tmp_path)
    with pytest.raises(UserError, match='--prompts=test is a split of the run'):
        read_prompts(of_a_run, 'test', settings=trained.settings)
    bert = {
        **base,
        'init': '',
        'model': {'name': 'bert', 'head': 'lm', 'depth': 1, 'vocab_size': 12},
    }
    bert['data'] = {**base['data'], 'tokenizer': str(tmp_path / 'tokenizer.json')}
    with pytest.raises(UserError, match='sees those after it too'):
        prepare(read_config(bert))


def test_prompts_that_cannot_be_are_left_out_by_line_and_the_rest_is_written(tmp_path):
    """Too long, empty, no JSON, no Unicode, no prompt: named from line 1; draws stay the same."""
    sizes = {key: SIZES[key] for key in ('vocab_size', 'width', 'heads', 'head')}
    net = build('gpt2', {**sizes, 'depth': 1, 'max_positions': 12})
    preprocessing = preprocessing_of(net, tmp_path, max_length=12, buckets=(8, 12))
    save_own(tmp_path / 'short', net, initial(net, scale=20), preprocessing)
    short = open_trained(str(tmp_path / 'short'), task='causal_lm')
    path = tmp_path / 'prompts.jsonl'
    given = ['{"prompt": "a"}', json.dumps({'prompt': 'bb ' * 11}), '{"prompt": "ccc"}', '']
    given += ['{"prompt": " "}', '{"prompt"', '{"prompt": "\\ud800"}', '{"question": "a"}', '[]']
    path.write_text('\n'.join(given))
    drawn = Sampling(temperature=1.0)
    failed = []
    prompts = read_prompts(short, str(path), failed.append)
    rows, _ = answers_of(
        short, prompts, failed.append, sampling=drawn, new_tokens=4, progress=False
    )
    assert [row['id'] for row in rows] == ['prompts.jsonl:1', 'prompts.jsonl:3']
    lines = {one.id.partition(':')[2]: one.reason for one in failed}
    assert set(lines) == set('256789') and 'has 12 tokens' in lines['2']
    assert 'surrogate' in lines['7'] and "no 'prompt'" in lines['8'] and 'no object' in lines['9']
    with pytest.raises(UserError, match=r'prompts\.jsonl:2 has 12 tokens'):
        answers_of(short, prompts, sampling=drawn, new_tokens=4, progress=False)
    other = reading_settings(short, {'text_column': ['question']})
    asked = tmp_path / 'asked.jsonl'
    asked.write_text('{"question": "a", "prompt": "bb"}')
    texts = [read_prompts(short, str(asked), settings=how)[0].text for how in (None, other)]
    assert texts == ['bb', 'a']
    with pytest.raises(UserError, match=r'--data\.max_length cannot be another than in training'):
        reading_settings(short, {'max_length': [8]})
    with pytest.raises(UserError, match="unknown --data key 'text_colum'; did you mean 'text_col"):
        reading_settings(short, {'text_colum': ['question']})
    # The draws of a prompt do not depend on whether one before it is left out.
    path.write_text('\n'.join(['{"prompt": "a"}', '{"prompt": "e"}', '{"prompt": "ccc"}']))
    whole, _ = answers_of(
        short, read_prompts(short, str(path)), sampling=drawn, new_tokens=4, progress=False
    )
    assert [row['answer'] for row in rows] == [whole[place]['answer'] for place in (0, 2)]
    # A conversation that waits for an answer is a prompt, though there is nothing to learn in it.
    path.write_text(json.dumps({'messages': [{'role': 'user', 'content': 'a'}]}))
    (prompt,) = read_prompts(short, str(path))
    assert prompt.written and prompt.reference is None
