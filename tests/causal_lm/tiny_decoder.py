"""What these tests share: a tokenizer of words, a chat template, a tiny decoder and its data."""

import jax
import numpy as np

from ftjax.data import Dataset
from ftjax.models.registry import build
from ftjax.preprocessing.texts import text_preprocessing

WORDS = ('<s>', '</s>', '<|im_start|>', '<|im_end|>', 'a', 'bb', 'ccc', 'dd', 'e', 'user')
WORDS = (*WORDS, 'assistant', 'system')
ID = {word: number for number, word in enumerate(WORDS)}
TEMPLATE = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}
{{- message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
SIZES = {'vocab_size': len(WORDS), 'width': 16, 'depth': 2, 'heads': 2, 'head': 'lm'}


def write_tokenizer(folder):
    """A tokenizer.json of words, which begins each text with <s>, and a chat template."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel(ID, unk_token='a'))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([*WORDS[:4]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single='<s> $A', pair='<s> $A $B', special_tokens=[('<s>', 0)]
    )
    tokenizer.save(str(folder / 'tokenizer.json'))
    config = {'bos_token': '<s>', 'eos_token': '</s>', 'chat_template': TEMPLATE}
    (folder / 'tokenizer_config.json').write_text(json.dumps(config))
    return folder / 'tokenizer.json'


def decoder(**options):
    return build('llama', {**SIZES, 'mlp_dim': 24, 'kv_heads': 1, **options})


def initial(net, seed=0, scale=8):
    """Variables as drawn, larger than usual so that guesses differ."""
    drawn = jax.jit(net.init)(jax.random.key(seed), net.example_input())
    return jax.tree.map(lambda x: x * scale if x.ndim > 1 else x, drawn)


def preprocessing_of(net, folder, **changes):
    import dataclasses

    return dataclasses.replace(text_preprocessing(net, write_tokenizer(folder)), **changes)


def texts(inputs, labels=None, name='texts', **more):
    labels = np.zeros(len(inputs), np.int32) if labels is None else labels
    return Dataset(name=name, kind='text', inputs=inputs, labels=labels, task='causal_lm', **more)


def drawn_texts(count, seed=0, longest=12):
    """Texts of words in a random order, of random lengths."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, longest, count)
    return [' '.join(rng.choice(WORDS[4:9], size)) for size in sizes]
