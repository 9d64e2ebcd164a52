"""Errors planted in texts, and what the audit finds of them."""

import numpy as np
from benchmarks.audit_planted import data, row


def sentences(rng, count):
    """SST-2 training sentences of ten words or more, all different."""
    file = next(iter(sorted(data('text/sst2').glob('train*'))))
    lines = {line.rpartition('\t')[0].strip() for line in file.read_text('utf-8').splitlines()}
    long = sorted(line for line in lines if len(line.split()) >= 10)
    return [long[i] for i in rng.permutation(len(long))[:count]]


def texts(rng):
    """Sentences in other dress, and with a word changed, in the test split."""
    from ftjax.data import Dataset, Splits
    from ftjax.data.audit.examples import Examples
    from ftjax.data.audit.measures.duplicates import find_duplicates

    given = sentences(rng, 3000)
    train, others = given[:2000], given[2000:]

    def dressed(text):
        return f'  {text.upper() if rng.random() < 0.5 else text.title()} !'

    def reworded(text):
        words = text.split()
        words[int(rng.integers(len(words)))] = 'thing'
        return ' '.join(words)

    planted = {
        'other case and signs': [*map(dressed, train[:100])],
        'one word changed': [*map(reworded, train[100:200])],
    }
    test = [*planted['other case and signs'], *planted['one word changed'], *others]
    whole = Dataset(
        name='sst2', kind='text', inputs=[*train, *test],
        labels=np.arange(len(train) + len(test)) % 2, class_names=('a', 'b'),
    )  # fmt: skip
    where = np.arange(len(whole))
    splits = Splits(
        train=whole.take(where[:2000]), val=whole.take([]), test=whole.take(where[2000:])
    )
    examples = Examples(splits)
    exact, near = (
        set((of - 2000).tolist()) for of in find_duplicates(examples, True).leaks(examples, 2)
    )
    first, second = set(range(100)), set(range(100, 200))
    yield row(
        'texts: other case and signs', 'always on', exact, first, len(exact - first), len(test)
    )
    yield row(
        'texts: one word of ten or more changed',
        'always on',
        near,
        second,
        len(near - second),
        len(test),
    )


def mojibake(rng):
    """5 % of sentences with accents, their UTF-8 read as Windows-1252 or Latin-1."""
    from ftjax.data.audit.findings.text_findings import repaired_text

    accents = str.maketrans({'a': 'à', 'e': 'é', 'o': 'ö', 'u': 'ü', 'c': 'ç', "'": '\u2019'})
    given = sentences(rng, 2000)
    for i in rng.permutation(len(given))[:1000]:  # half of them with accents in every word
        given[i] = ' '.join(
            word.translate(accents) if rng.random() < 0.5 else word for word in given[i].split()
        )
    able = [i for i, text in enumerate(given) if not text.isascii()]
    planted = {int(i) for i in rng.choice(able, 100, replace=False)}
    for i in planted:
        encoding = 'cp1252' if rng.random() < 0.5 else 'latin-1'
        try:
            given[i] = given[i].encode().decode(encoding)
        except UnicodeDecodeError:
            given[i] = given[i].encode().decode('latin-1')
    found = {i for i, text in enumerate(given) if repaired_text(text) is not None}
    yield row('texts: mojibake', 'full audit', found, planted, len(found - planted), len(given))
