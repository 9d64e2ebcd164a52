"""Sentences of Python's own documentation: by topic, by the order of words, or unlabelled."""

from __future__ import annotations

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.labels import DEFAULT_TASK
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.data.text.word_windows import joined_words
from ftjax.errors import UserError, check_name

_VARIANTS = ('order', 'unlabelled', 'code', 'pairs', 'questions')
_ORDER, _UNLABELLED, _CODE, _PAIRS, _QUESTIONS = _VARIANTS
_WRITTEN_OR_NOT = ('shuffled', 'written')


def read(argument: str, settings: DataSettings) -> Parts:
    """Sentences of the standard library's documentation, of which versions of Python differ.

    `docstrings`: some 3,000; the class is what their module is for (`mail`, `network`, `text`,
    `numbers` or `files`: GROUPS in ftjax/data/synthetic/docstrings.py), the largest about twice the
    smallest. Sentences of one module are in all splits: a topic is learned, not a style.
    `docstrings:order`: the same sentences, the inner words of half of them shuffled; the class
    is `shuffled` or `written`. No bag of words can tell them apart.
    `docstrings:unlabelled`: some 16,000 others, for tasks that guess tokens; no sentence is also
    among those above.
    `docstrings:code`: some 3,000 lines of code, not of documentation, for data.task
    token_classification: what is called, defined, a parameter or a string
    (ftjax/data/synthetic/code_lines.py).
    `docstrings:pairs`: some 2,000 functions, for data.task embedding: the sentence that says what
    one does, and its name with its parameters.
    `docstrings:questions`: prompts and completions for a decoder: the topic of a labelled sentence,
    or its first or last word.

    Raises:
      UserError: another variant, a task that the sentences have no labels for, or a standard
        library that is not there as files.
    """
    from ftjax.data.synthetic.docstrings import (
        GROUPS,
        in_order_or_not,
        labelled_sentences,
        unlabelled_sentences,
    )

    if argument:
        check_name(argument, _VARIANTS, "variant of data.source 'docstrings':")
    kind = settings.label_kind
    if argument == _CODE:
        return _code(settings)
    if argument == _PAIRS:
        return _pairs(settings)
    if argument == _QUESTIONS:
        return _questions(settings)
    if not kind.from_inputs and (argument == _UNLABELLED or not kind.one_class):
        unlabelled = argument == _UNLABELLED
        what = 'data.task masked_tokens' if unlabelled else f'data.task {DEFAULT_TASK}'
        raise UserError(f'data.source {settings.source!r} is for {what}, not {settings.task}')
    names = tuple(GROUPS)
    if argument == _UNLABELLED:
        sentences = unlabelled_sentences()
        labels = [0] * len(sentences)
    else:
        pairs = labelled_sentences()
        sentences = [sentence for sentence, _ in pairs]
        labels = [names.index(group) for _, group in pairs]
    if kind.from_inputs:
        labels = [0] * len(sentences)
    texts = [sentence.text for sentence in sentences]
    if argument == _ORDER:
        names = _WRITTEN_OR_NOT
        texts, labels = zip(*map(in_order_or_not, texts), strict=True)
    return Parts(
        train=Dataset(
            name=settings.source,
            kind='text',
            inputs=texts,
            labels=np.array(labels, np.int32),
            class_names=settings.class_names or names,
            task=settings.task,
            ids=[sentence.id for sentence in sentences],
        )
    )


def _code(settings: DataSettings) -> Parts:
    from ftjax.data.synthetic.code_lines import TAGS, code_lines

    kind = settings.label_kind
    if kind.form != 'words':
        raise UserError(
            f'data.source {settings.source!r} is for data.task token_classification, not '
            f'{settings.task}'
        )
    lines = code_lines()
    labels, names = kind.read([line.tags for line in lines], lambda i: lines[i].id, TAGS)
    return Parts(
        train=Dataset(
            name=settings.source,
            kind='text',
            inputs=[joined_words(line.words) for line in lines],
            labels=labels,
            class_names=names,
            task=settings.task,
            ids=[line.id for line in lines],
        )
    )


def _pairs(settings: DataSettings) -> Parts:
    from ftjax.data.synthetic.summaries import summaries

    kind = settings.label_kind
    if kind.form != 'apart' or not kind.label_is_optional:
        raise UserError(
            f'data.source {settings.source!r} is for data.task embedding, not {settings.task}'
        )
    found = summaries()
    inputs = [(each.sentence, each.name) for each in found]
    labels, _ = kind.read([None] * len(found), lambda i: found[i].id)
    return Parts(
        train=Dataset(
            name=settings.source,
            kind='text',
            inputs=inputs,
            labels=kind.of_inputs(inputs, labels, lambda i: found[i].id),
            task=settings.task,
            ids=[each.id for each in found],
        )
    )


def _questions(settings: DataSettings) -> Parts:
    from ftjax.data.synthetic.docstring_questions import questions

    if not settings.label_kind.causal:
        raise UserError(
            f'data.source {settings.source!r} is for data.task causal_lm, not {settings.task}'
        )
    ids, prompts, answers = zip(*questions(), strict=True)
    return Parts(
        train=Dataset(
            name=settings.source,
            kind='text',
            inputs=list(zip(prompts, answers, strict=True)),
            labels=np.zeros(len(ids), np.int32),
            task=settings.task,
            ids=ids,
        )
    )
