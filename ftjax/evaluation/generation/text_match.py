"""How far texts that were written are those that were wanted."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.intervals import score_interval, share_interval
from ftjax.evaluation.metric import MetricValues, metric_line

NORMALISED = 'small letters, without punctuation, without a, an and the, single spaces'
_ARTICLES = re.compile(r'\b(a|an|the)\b')
_WORD = re.compile(r'(?:[^\W_]|[\u0300-\u036f])+')  # with marks above and below letters
_PUNCTUATION = str.maketrans('', '', string.punctuation)


def generation_metrics(
    answers: Sequence[str], references: Sequence[str], groups: Sequence[str] = ()
) -> dict[str, object]:
    """Metrics of answers, one reference each, with 95 % intervals over examples.

    `groups` are what each belongs to: intervals resample these, and their number is told; () where
    examples are independent.

    `exact_match`: both are equal but for white space at either end. `normalised_match`: equal after
    `normalised`. `rouge_l`: the mean of `rouge_l`.

    Raises:
      UserError: not as many references as answers, or none at all.

    >>> found = generation_metrics(['The cat.', 'a dog'], ['the cat', 'a dog'])
    >>> found['exact_match'], found['normalised_match'], found['rouge_l']
    (0.5, 1.0, 1.0)
    """
    if len(answers) != len(references) or not answers:
        raise UserError(f'{len(answers)} answers and {len(references)} references to compare')
    pairs = list(zip(answers, references, strict=True))
    exact = np.array([one.strip() == other.strip() for one, other in pairs])
    alike = np.array([normalised(one) == normalised(other) for one, other in pairs])
    overlap = np.array([rouge_l(one, other) for one, other in pairs])
    group = np.array(groups) if len(groups) else None
    return {
        'n': len(answers),
        **({} if group is None else {'groups': len(np.unique(group))}),
        'exact_match': float(exact.mean()),
        'exact_match_interval': share_interval(exact, group),
        'normalised_match': float(alike.mean()),
        'normalised_match_interval': share_interval(alike, group),
        'rouge_l': float(overlap.mean()),
        'rouge_l_interval': score_interval(overlap, group),
    }


def normalised(text: str) -> str:
    """A text as SQuAD's evaluation compares it: NORMALISED says how.

    Source: Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1.

    >>> normalised(' The  Cat, sat. ')
    'cat sat'
    """
    plain = text.lower().translate(_PUNCTUATION)
    return ' '.join(_ARTICLES.sub(' ', plain).split())


def rouge_l(answer: str, reference: str) -> float:
    """The F1 of the longest common subsequence of words, 0 where either has no word.

    Words are runs of letters, of any alphabet, and digits in small letters, without stemming.
    Source: Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries, section 3.1, with
    beta 1.

    >>> round(rouge_l('the cat sat', 'the cat on the mat'), 4)  # 2 words of 3, and of 5
    0.5
    """
    one, other = (_WORD.findall(text.lower()) for text in (answer, reference))
    common = longest_common(one, other)
    if not common:
        return 0.0
    precision, recall = common / len(one), common / len(other)
    return 2 * precision * recall / (precision + recall)


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for place, against in enumerate(other, start=1):
            above = row[place]
            row[place] = diagonal + 1 if word == against else max(above, row[place - 1])
            diagonal = above
    return row[-1]


def match_text(metrics: MetricValues) -> str:
    """The metrics for a terminal; no interval of an overlap that was measured once."""
    lines = [f'answers          {metrics["n"]:,}']
    names = ('exact_match', 'normalised_match', 'rouge_l')
    lines += [metric_line(metrics, name, f'{name:<16}', '.4f') for name in names]
    return '\n'.join(lines)
