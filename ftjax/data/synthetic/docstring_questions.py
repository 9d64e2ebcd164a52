"""Questions about sentences of Python's documentation, for models that follow instructions.

Each sentence has one of three questions, so that the answer hangs on the question too.
"""

from __future__ import annotations

import hashlib

from ftjax.data.synthetic.docstrings import Sentence, labelled_sentences

QUESTIONS = ('Topic', 'First word', 'Last word')


def questions() -> list[tuple[str, str, str]]:
    """(id, prompt, completion) of each of `labelled_sentences`.

    The topic is what its module is for, of five groups; the other answers are its first and last
    word without what stops a sentence. Which question a sentence has follows from its text.
    """
    return [
        (f'{kind}:{sentence.id}', prompt_of(kind, sentence.text), f' {answer}')
        for sentence, group in labelled_sentences()
        for kind, answer in [_asked(sentence, group)]
    ]


def prompt_of(kind: str, text: str) -> str:
    r"""The question as the network gets it.

    >>> prompt_of('Topic', 'Open a file.')
    'Topic of: Open a file.\nAnswer:'
    """
    return f'{kind} of: {text}\nAnswer:'


def _asked(sentence: Sentence, group: str) -> tuple[str, str]:
    kind = QUESTIONS[hashlib.sha256(sentence.text.encode()).digest()[11] % len(QUESTIONS)]
    words = sentence.text.split()
    answers = {
        'Topic': group,
        'First word': words[0],
        'Last word': words[-1].rstrip('.:!?') or words[-1],
    }
    return kind, answers[kind]
