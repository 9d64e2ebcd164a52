"""The difference of two versions as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from ftjax.plotting.number_formats import p_value, score, title_of
from ftjax.printable import aligned, printable
from ftjax.serving.comparison.changed_answers import Change, ChangedAnswers
from ftjax.serving.comparison.run_differences import MetricPair, PairedDifference
from ftjax.serving.comparison.version_diff import VersionDiff
from ftjax.serving.versions.version_records import Version


def diff_text(found: VersionDiff) -> Iterator[str]:
    """All that was found, data and config first, the changed answers last."""
    for version in (found.first, found.second):
        yield printable(told_version(version))
    for note in found.notes:
        yield printable(f'note: {note}')
    yield f'\ndata: {data_told(found)}'
    yield f'config: {len(found.runs.config)} keys differ'
    yield from aligned([[f'  {key}', old, '->', new] for key, old, new in found.runs.config])
    if found.runs.metrics:
        yield ''
        heads = ['test metric', str(found.first), str(found.second)]
        rows = ([title_of(pair.name), *values(pair)] for pair in found.runs.metrics)
        yield from aligned([heads, *rows])
    yield ''
    yield from paired_told(found)
    yield ''
    if found.answers is None:
        yield printable(f'answers were not compared: {found.unanswered}')
        return
    yield printable(changed_told(found.answers))
    moves = [[f'  {old}', '->', new, str(count)] for old, new, count in found.answers.moves]
    yield from aligned(moves)
    if found.answers.examples:
        yield 'the largest changes:'
        yield from aligned(
            [
                [f'  {one.given.id}', answer(one, 0), '->', answer(one, 1)]
                for one in found.answers.examples
            ]
        )


def told_version(version: Version) -> str:
    """Who published it when, and the note."""
    note = f': {version.note}' if version.note else ''
    return f'{version}  {version.when[:16].replace("T", " ")} by {version.who}{note}'


def data_told(found: VersionDiff) -> str:
    """`train differs, validation the same, test the same`."""
    words = {'val': 'validation'}
    return ', '.join(f'{words.get(k, k)} {v}' for k, v in found.runs.data.items())


def values(pair: MetricPair) -> list[str]:
    """A metric of both, with intervals where there are any."""
    cells = []
    for value, interval in (
        (pair.first, pair.first_interval),
        (pair.second, pair.second_interval),
    ):
        told = score(value, pair.name)
        if interval is not None:
            low, high = (score(bound, pair.name) for bound in interval)
            told += f' [{low}, {high}]'
        cells.append(told)
    return cells


def paired_told(found: VersionDiff) -> Iterator[str]:
    """The paired difference and how it is to be read; or why there is none."""
    paired = found.runs.paired
    if paired is None:
        yield printable(f'no paired difference: {found.runs.unpaired}')
        return
    yield (
        f'paired on the same {paired.n:,} test examples, {found.second} minus {found.first}: '
        f'{title_of(paired.metric)} {score(paired.difference, paired.metric, signed=True)}'
        f'{interval_told(paired)}'
    )
    if paired.p is not None:
        yield (
            f'only {found.first} is right: {paired.first_only:,}; only {found.second}: '
            f"{paired.second_only:,}; McNemar's exact p = {p_value(paired.p)}"
        )
    if paired.caution:
        yield f'caution: {paired.caution}'


def interval_told(paired: PairedDifference) -> str:
    """` [low, high] (95 %)`, or nothing."""
    if paired.interval is None:
        return ''
    low, high = (score(bound, paired.metric, signed=True) for bound in paired.interval)
    return f' [{low}, {high}] (95 %)'


def changed_told(answers: ChangedAnswers) -> str:
    """How many answers changed."""
    left = f'; {answers.failed:,} could not be answered by both' if answers.failed else ''
    return (
        f'answers on {answers.told}: {answers.changed:,} of {answers.n:,} changed; '
        f'{answers.sized}, mean over inputs: {answers.mean_size:.3g}{left}'
    )


def answer(change: Change, which: int) -> str:
    """What one of both answered, with its probability."""
    told = (change.first, change.second)[which]
    sure = f' ({100 * told.value:.1f}\u00a0%)' if told.probable else ''
    return f'{told.said or "–"}{sure}'
