"""Span metrics of seqeval on random tags: tests/token_classification/span_goldens.json.

    pip install seqeval==1.2.2
    python scripts/parity/make_span_goldens.py

The tests that read the file need no seqeval.
"""

import json
import pathlib
import random
import warnings

from seqeval.metrics import classification_report  # pyrefly: ignore
from seqeval.scheme import IOB2  # pyrefly: ignore

OUTPUT = pathlib.Path(__file__).parents[2] / 'tests' / 'token_classification' / 'span_goldens.json'
TYPES = ('PER', 'LOC', 'ORG')
ODD = (  # true and answered tags of one text, each with a trap
    (['B-PER', 'I-PER', 'O'], ['I-PER', 'I-PER', 'O']),  # nothing opens
    (['B-PER', 'I-PER', 'O'], ['B-PER', 'I-LOC', 'O']),  # another type ends it
    (['B-PER', 'B-PER', 'I-PER'], ['B-PER', 'I-PER', 'I-PER']),  # two spans side by side
    (['O', 'O', 'B-LOC'], ['O', 'I-LOC', 'B-LOC']),
    (['B-LOC', 'I-PER', 'I-LOC'], ['B-LOC', 'O', 'I-LOC']),  # true tags that break the scheme
    (['O', 'O', 'B-ORG'], ['B-LOC', 'O', 'O']),  # a type that is answered and never true
)


def draw(rng: random.Random) -> dict[str, list[list[str]]]:
    """Some texts with answers that are often right."""
    tags = ['O', *(f'{mark}-{kind}' for kind in TYPES for mark in 'BI')]
    true, answered = [], []
    for _ in range(rng.randint(1, 6)):
        words = [rng.choice(tags) for _ in range(rng.randint(1, 9))]
        true.append(words)
        answered.append([tag if rng.random() < 0.7 else rng.choice(tags) for tag in words])
    return {'true': true, 'answered': answered}


def main() -> None:
    """Writes the file."""
    rng, cases = random.Random(0), []
    drawn = [{'true': [a], 'answered': [b]} for a, b in ODD] + [draw(rng) for _ in range(60)]
    for case in drawn:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            report = classification_report(
                case['true'],
                case['answered'],
                mode='strict',
                scheme=IOB2,
                output_dict=True,
                zero_division=0,
            )
        plain = {
            name: {key: float(value) for key, value in row.items()} for name, row in report.items()
        }
        cases.append({**case, 'report': plain})
    OUTPUT.write_text('[\n' + ',\n'.join(json.dumps(case) for case in cases) + '\n]\n')


if __name__ == '__main__':
    main()
