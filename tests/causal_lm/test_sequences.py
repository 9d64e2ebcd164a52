"""Which tokens count, worked out by hand: texts, completions, conversations, cut and packed."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_decoder import ID, TEMPLATE, decoder, drawn_texts, preprocessing_of, texts

from ftjax.data import DataSettings, TrainStream, load_data
from ftjax.data.labels.next_tokens import CONVERSATION
from ftjax.data.streams.loader import Loader
from ftjax.data.text.packing import first_fit
from ftjax.data.text.sequences import SequenceReader, sequences_of
from ftjax.data.unlabelled.inputs import read_inputs
from ftjax.errors import UserError
from ftjax.preprocessing import template_sandbox
from ftjax.preprocessing.chat_template import ChatTemplate
from ftjax.preprocessing.texts import TextPreprocessing, text_preprocessing

END, PAD = ID['</s>'], ID['</s>']
NET = decoder()


@pytest.fixture
def eight(tmp_path):
    return preprocessing_of(NET, tmp_path, max_length=8, buckets=(4, 8))


def batch(dataset, preprocessing, size=None):
    loader = Loader(dataset, None, preprocessing)
    return loader.batch(np.arange(len(dataset)), size)


def test_of_a_text_every_token_but_the_first_is_learned_and_the_end_token(eight):
    got = batch(texts(['bb ccc']), eight)
    assert got['inputs']['input_ids'].tolist() == [[0, ID['bb'], ID['ccc'], END]]
    assert got['labels'][0, :, 0].tolist() == [ID['bb'], ID['ccc'], END, -1]
    assert got['labels'][0, :, 1].tolist() == [2, 4, 0, 0]  # ' ccc' with its space, nothing for it
    assert got['mask'].tolist() == [[1, 1, 1, 0]]
    np.testing.assert_array_equal(got['inputs']['targets'], got['labels'][..., 0])


def test_of_a_pair_the_completion_and_the_end_token_are_learned(eight):
    got = batch(texts([('bb a', 'ccc')]), eight)
    # <s> bb a | ccc </s>: the third token guesses ccc, and ccc guesses the end.
    assert got['inputs']['input_ids'][0, :5].tolist() == [0, ID['bb'], ID['a'], ID['ccc'], END]
    assert got['labels'][0, :5, 0].tolist() == [-1, -1, ID['ccc'], END, -1]
    assert got['mask'][0].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert got['inputs']['attention_mask'][0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


def spoken(*words):
    roles = ('user', 'assistant') * len(words)
    said = [{'role': r, 'content': w} for r, w in zip(roles, words, strict=False)]
    return json.dumps(said)


def test_of_a_conversation_what_the_assistant_says_is_learned(tmp_path):
    long = preprocessing_of(NET, tmp_path, max_length=64, buckets=())
    got = batch(texts([spoken('a', 'bb ccc', 'dd', 'e')], [CONVERSATION]), long)
    start, stop = ID['<|im_start|>'], ID['<|im_end|>']
    turn = [start, ID['user'], ID['a'], stop, start, ID['assistant'], ID['bb'], ID['ccc'], stop]
    ids = got['inputs']['input_ids'][0]
    assert ids[:9].tolist() == turn and ids[0] != 0  # no second <s>
    learned = got['labels'][0, :, 0]
    assert learned[:9].tolist() == [-1] * 5 + [ID['bb'], ID['ccc'], stop, -1]
    assert learned[learned >= 0].tolist() == [ID['bb'], ID['ccc'], stop, ID['e'], stop]
    assert got['mask'].sum() == 5
    assert got['labels'][0, :, 1].sum() == len('\nbb ccc') + len('\ne')


def test_what_is_too_long_loses_its_end_which_the_first_screen_counts(eight):
    data = texts([('bb a', 'ccc dd e a bb ccc'), ('a', 'e'), ('a ' * 9, 'bb')], max_length=8)
    said = SequenceReader.seen(data, eight)
    # The first has 3 + 6 + 1 = 10 tokens, the third 10 + 1 + 1 = 12 and no answer left.
    assert '2 of 3 training examples are longer and lose their end, 6 tokens together' in said
    assert 'of 1 training examples nothing is learned' in said
    got = batch(data, eight)
    assert got['labels'][0, :, 0].tolist() == [
        -1,
        -1,
        *(ID[word] for word in ('ccc', 'dd', 'e', 'a', 'bb')),
        -1,
    ]
    assert got['mask'].sum(1).tolist() == [5, 2, 0]


def test_a_run_that_could_learn_nothing_is_refused_and_the_limit_is_named(eight):
    data = texts([('a ' * 9, 'bb'), ('a ' * 8, 'bb')], max_length=8)
    with pytest.raises(UserError, match=r'nothing can be learned.*first 8 .*\(data\.max_length\)'):
        SequenceReader.seen(data, eight)
    longer = texts([('a ' * 9, 'bb'), ('a', 'e')], max_length=99)
    told = '(8 came with the weights; data.max_length can be up to what they take)'
    assert told in SequenceReader.seen(longer, eight)


def test_bytes_are_those_of_utf8(tmp_path):
    from ftjax.data.text.trained_tokenizer import BYTES, trained_tokenizer
    from ftjax.preprocessing.texts import text_preprocessing

    path = trained_tokenizer(['some words of a text'] * 3, 300, BYTES)
    net = decoder(vocab_size=300)
    text = 'Größe \u4e2d'
    got = batch(texts([text]), text_preprocessing(net, path))
    first = len(text.encode()) - got['labels'][0, :, 1].sum()
    assert first == 1  # the first token, 'G', is not guessed, so its byte does not count


def test_texts_are_packed_by_first_fit_and_keep_their_labels(eight):
    assert first_fit(np.array([3, 5, 2, 6]), 8) == [[3, 2], [1, 0]]
    data = texts(['bb', ('ccc dd e'), 'a'])  # 3, 5 and 3 tokens
    got = Loader(data, None, eight).packed(np.array([0, 1, 2]), 3)
    assert got['inputs']['segments'].tolist() == [
        [1, 1, 1, 1, 1, 2, 2, 2],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [0] * 8,
    ]
    ids = got['inputs']['input_ids'][0].tolist()
    assert ids == [0, ID['ccc'], ID['dd'], ID['e'], END, 0, ID['bb'], END]
    # The end of one text guesses nothing of the next.
    assert got['labels'][0, :, 0].tolist() == [*ids[1:5], -1, ID['bb'], END, -1]
    assert got['mask'].sum() == batch(data, eight)['mask'].sum()
    assert got['index'].tolist() == [1, 2, 1]


def test_a_packed_epoch_holds_what_an_epoch_holds(eight):
    data = texts(drawn_texts(24, longest=5))

    def learned(packed):
        import dataclasses

        wide = dataclasses.replace(eight, max_length=16, buckets=(16,))
        stream = TrainStream(dataclasses.replace(data, packed=packed), 6, 3, None, wide)
        batches = [stream.in_runs(2).batch(step) for step in range(4)]
        labels = np.concatenate([b['labels'][..., 0][b['mask'] > 0] for b in batches])
        return sorted(labels.tolist()), [len(b['labels']) for b in batches]

    (alone, rows), (packed, fewer) = learned(False), learned(True)
    assert alone == packed and rows == [6] * 4 and max(fewer) < 6
    assert fewer[0] == fewer[1] and fewer[2] == fewer[3]  # one shape a call


def test_columns_of_a_file_are_found_by_their_names(tmp_path):
    said = json.loads(spoken('a', 'bb'))
    lines = {
        'pairs': [{'prompt': 'a', 'completion': 'bb', 'id': 3}] * 9,
        'talk': [{'messages': said}] * 9,
        'mixed': [{'messages': said}, {'messages': 'bb a'}] * 9,
        'plain': [{'text': 'a bb'}] * 9,
        'other': [{'q': 'a', 'w': 'bb'}] * 9,
    }
    for name, rows in lines.items():
        (tmp_path / f'{name}.jsonl').write_text('\n'.join(map(json.dumps, rows)))

    def read(name, **more):
        source = f'jsonl:{tmp_path / name}.jsonl'
        return load_data(DataSettings(source=source, task='causal_lm', **more)).train

    assert read('pairs').inputs[0].tolist() == ['a', 'bb']
    assert json.loads(read('talk').inputs[0]) == said and set(read('talk').labels) == {CONVERSATION}
    assert set(read('mixed').labels) == {0, CONVERSATION}
    assert read('plain').inputs[0] == 'a bb'
    columns = {'text_column': 'q', 'text_pair_column': 'w'}
    assert read('other', **columns).inputs[0].tolist() == ['a', 'bb']
    for broken, match in (
        ([{'role': 'user', 'content': 'a'}], "no message of role 'assistant'"),
        ([{'role': 'assistant'}], 'message 1 is'),
        ([], 'no messages'),
    ):
        rows = [{'messages': broken}, {'messages': said}]
        (tmp_path / 'bad.jsonl').write_text('\n'.join(map(json.dumps, rows)))
        with pytest.raises(UserError, match=match) as error:
            read('bad')
        assert 'line 1' in str(error.value)


def test_a_template_sees_messages_and_nothing_else():
    said = [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'bb'}]
    plain = ChatTemplate(TEMPLATE)
    assert plain.rendered(said[:1], 'x', answer=True).endswith(
        'a<|im_end|>\n<|im_start|>assistant\n'
    )
    for text in (
        "{{ ''.__class__.__mro__ }}",
        '{{ messages.append(1) }}',
        "{{ 'a' * 10 ** 9 }}",
        '{{ cycler.__init__.__globals__ }}',
        '{% for i in range(10 ** 9) %}{% endfor %}',
        "{{ raise_exception('only in pairs') }}",
        '{% broken',
        "{% include 'file' %}",
    ):
        with pytest.raises(UserError, match='the chat template'):
            ChatTemplate(text).rendered(said, 'x')
    # As of transformers there are no tools and documents, and that is said.
    asks = (
        '{% if tools is not none or documents is not none %}tools{% endif %}{{ messages | length }}'
    )
    assert ChatTemplate(asks).rendered(said, 'x') == '2'
    # One that writes an answer in another way once there is a later message.
    late = "{% for m in messages %}{{ m.content if loop.last else 'gone' }}{% endfor %}"
    with pytest.raises(UserError, match='in another way'):
        ChatTemplate(late).spans([*said, said[0]], 'x')
    marked = '{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}'
    assert ChatTemplate(marked).rendered(said, 'x') == 'abb'


def test_a_text_of_which_the_tokenizer_leaves_nothing_is_one_token_of_padding(tmp_path):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({'a': 0, 'bb': 1}, unk_token='a'))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.normalizer = normalizers.Replace('#', '')
    tokenizer.save(str(tmp_path / 'tokenizer.json'))
    plain = text_preprocessing(NET, tmp_path / 'tokenizer.json')
    data = texts(['a bb', '#', 'bb a a', '#'])
    made = sequences_of(data, plain)
    assert made.lengths.tolist() == [2, 1, 3, 1] and made.counted.sum() == 3
    assert 'of 2 training examples nothing is learned' in SequenceReader.seen(data, plain)
    reader = SequenceReader(data, plain)
    for labels in (reader.examples(np.arange(4), 4)[1], reader.packed(np.arange(4), 1)[1]):
        assert (labels[..., 0] != -1).sum() == 3


def test_a_conversation_in_a_text_is_refused(tmp_path):
    (tmp_path / 'a.csv').write_text('messages\n"[{""role"": ""user"", ""content"": ""a""}]"\n' * 2)
    with pytest.raises(UserError, match='a conversation in JSON'):
        load_data(DataSettings(source=f'csv:{tmp_path}/a.csv', task='causal_lm'))


def test_a_template_has_bounds(monkeypatch):
    monkeypatch.setattr(template_sandbox, 'STEPS', 2000)
    said = [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'bb'}]
    doubled = "{% set n = namespace(x='a') %}{% for i in range(60) %}{}{% endfor %}{{ n.x }}"
    grown = (
        '{% set n.x = n.x + n.x %}',
        '{% set n.x = n.x ~ n.x %}',
        '{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}',
        "{% set n.x = n.x.replace('a', 'aa') %}",
        "{% set n.x = n.x|replace('a', 'aa') %}",
        '{% set n.x = [n.x, n.x]|join %}',
        "{% set n.x = ''.join([n.x, n.x]) %}",
        "{% set n.x = '%s%s' % (n.x, n.x) %}",
        "{% set n.x = '{}{}'.format(n.x, n.x) %}",
        "{% set n.x = '%s%s'|format(n.x, n.x) %}",
        '{% set n.x = [n.x, n.x]|string %}',
        '{% set n.x = [n.x, n.x] %}',
    )
    loop = '{% for i in range(10000) %}'
    for text in (
        *(doubled.replace('{}', each, 1) for each in grown),
        "{{ 'a'.ljust(10**9) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a'|center(1000000000) }}",
        "{{ 'a'|indent(1000000000, true) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ '{:{w}}'.format(1, w=1000000000) }}",
        '{{ messages|tojson(indent=1000000000) }}',
        f'{loop}{loop}x' + '{% endfor %}' * 2,
        '{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}',
        "{{ '{1}'.format('a') }}",  # IndexError
        "{{ 'a'.encode('nothing') }}",  # LookupError
        '{% if true %}' * 30 + '{% for a in [1] %}' * 30 + '{% endfor %}' * 30 + '{% endif %}' * 30,
    ):
        with pytest.raises(UserError, match='the chat template'):
            ChatTemplate(text).rendered(said, 'x')
    plain = "{% for m in messages %}{{ '%s' % m.role ~ ': ' ~ m.content + '.' }}{{ loop.index }}"
    assert ChatTemplate(plain + '{% endfor %}').rendered(said, 'x') == 'user: a.1assistant: bb.2'
    long = [{'role': 'user', 'content': 'a' * 2**19}]  # a text may be long, and is no growth
    assert len(ChatTemplate(plain + '{% endfor %}').rendered(long, 'x')) == 2**19 + 8


def test_a_first_message_of_the_assistant_begins_with_its_words():
    """What a template writes before it, a system prompt say, is nothing to learn."""
    text, spans = ChatTemplate('System: be kind.\n' + TEMPLATE).spans(
        [{'role': 'assistant', 'content': 'bb'}, {'role': 'user', 'content': 'a'}], 'x'
    )
    assert [text[a:b] for a, b in spans] == ['bb<|im_end|>']


def test_the_template_travels_with_the_weights(tmp_path, eight):
    again = TextPreprocessing.from_json(json.loads(json.dumps(eight.to_json())), tmp_path)
    assert again == eight and again.chat == ChatTemplate(
        TEMPLATE, (('bos_token', '<s>'), ('eos_token', '</s>'))
    )
    assert eight.end_id == END
    without = TextPreprocessing(tokenizer='t', sha256='', vocab_size=9).to_json()
    assert not {'chat_template', 'chat_tokens', 'end_id'} & set(without)
    (tmp_path / 'chat_template.jinja').write_text('{{ messages[0].content }}')
    found = preprocessing_of(NET, tmp_path)
    assert found.chat_template == '{{ messages[0].content }}'


def test_what_cannot_be_is_said(tmp_path, eight):
    import dataclasses

    plain = dataclasses.replace(eight, chat_template=None)
    with pytest.raises(UserError, match='the checkpoint has no chat template'):
        Loader(texts([spoken('a', 'bb')], [CONVERSATION]), None, plain)
    with pytest.raises(UserError, match=r'data\.packing needs texts of a decoder'):
        DataSettings(packing=True)
    small = dataclasses.replace(eight, vocab_size=5)
    with pytest.raises(UserError, match='the tokenizer of another network'):
        Loader(texts(['e']), None, small)


def test_a_prompt_alone_is_nothing_to_learn_from(tmp_path):
    path = tmp_path / 'd.jsonl'
    asked = DataSettings(source=f'jsonl:{path}', task='causal_lm')

    def write(**columns):
        rows = ({name: f'{text} {i}' for name, text in columns.items()} for i in range(20))
        path.write_text('\n'.join(map(json.dumps, rows)))

    write(prompt='question', response='answer')
    with pytest.raises(UserError, match=r'data\.text_column \(with data\.text_pair_column for'):
        load_data(asked)
    named = dataclasses.replace(asked, text_column='prompt', text_pair_column='response')
    assert tuple(load_data(named).train.inputs[0])[1].startswith('answer')
    assert next(read_inputs(str(path), asked, texts=True)).value == 'question 0'
    write(prompt='question', text='all of it')
    assert load_data(asked).train.inputs[0].startswith('all of it')
