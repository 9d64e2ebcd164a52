"""The leaderboard in Markdown: a table for each setting, every number with its row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ftjax.ablation.leaderboard.config_links import Links
from ftjax.ablation.leaderboard.entries import Entry
from ftjax.ablation.leaderboard.settings_found import Located
from ftjax.ablation.leaderboard.submissions import Submission
from ftjax.printable import in_markdown

UP = '..'
"""From the page to the folder of all results."""
HOW_TO_READ = (
    'Made from the rows of results, compared as the summary.json beside them says: '
    '`python scripts/leaderboard.py`. Means over seeds with 95 % t intervals; the verdict compares '
    'with the reference arm on the same seeds, in intervals that hold together for all arms of a '
    'setting; numbers of different settings do not compare. '
    '*cost*: FLOPs of a step over those of the costliest arm; a step on stored features is priced '
    'without the part that runs once. *checked*: yes where the arms of a '
    'setting had the same data, seeds and number of trials, and rows that say what made them; else '
    'what is missing. A number in the column of seeds leads to its row.'
)
COLUMNS = (
    *('arm', 'mean', 'verdict', 'seeds', 'rate', 'trials', 'trained', 'cost'),
    *('optimizer', 'commit', 'config', 'checked'),
)


def markdown(
    entries: Sequence[Entry],
    without: Mapping[str, str],
    handed_in: Sequence[Submission],
    links: Links,
) -> str:
    """The page: how to read it, settings, submissions, what has no entry."""
    parts = ['# Leaderboard', HOW_TO_READ, 'How to add an arm: [HOW_TO_ADD.md](HOW_TO_ADD.md).']
    for setting in dict.fromkeys(entry.setting for entry in entries):
        inside = [entry for entry in entries if entry.setting == setting]
        for metric in dict.fromkeys(entry.metric for entry in inside):
            listed = [entry for entry in inside if entry.metric == metric]
            better = 'higher' if listed[0].higher_is_better else 'lower'
            parts.append(f'## {in_markdown(setting)}: {metric}')
            parts.append(f'{better} is better; reference: {in_markdown(listed[0].reference)}')
            parts.append(table(cells(entry, links) for entry in listed))
    parts.append('## Submissions')
    if not handed_in:
        parts.append('None yet.')
    for submission in handed_in:
        told = '; '.join(submission.problems) or 'counts'
        parts.append(f'- {in_markdown(submission.name)}: {in_markdown(told)}')
    if without:
        parts.append('## Not listed')
        said = (f'- {in_markdown(name)}: {in_markdown(why)}' for name, why in without.items())
        parts.append('\n'.join(said))
    return '\n\n'.join(parts) + '\n'


def table(rows: Iterable[Sequence[str]]) -> str:
    """Header and rows; cells are Markdown already."""
    lines = [f'| {" | ".join(COLUMNS)} |', f'|{" --- |" * len(COLUMNS)}']
    return '\n'.join([*lines, *(f'| {" | ".join(row)} |' for row in rows)])


def cells(entry: Entry, links: Links) -> list[str]:
    """The cells of an entry."""
    config = links.config(entry.seeds[0][1].file)
    linked = [
        f'[{located.row["seed"]}: {score:.4g}]({row_link(located)})'
        for score, located in entry.seeds
    ]
    return [
        in_markdown(entry.arm),
        spread(entry),
        verdict(entry),
        ' '.join(linked),
        rate(entry),
        str(entry.trials),
        percent(entry.share),
        percent(entry.cost),
        '–' if entry.optimizer_bytes is None else f'{entry.optimizer_bytes / 1e6:.3g} MB',
        commits(entry, links),
        f'[config]({UP}/{config})' if config else '–',
        checked(entry),
    ]


def commits(entry: Entry, links: Links) -> str:
    """The commits that an entry's rows were made at, each with its address where one is known."""
    found = [f'`{commit}`' for commit in entry.commits]
    if links.commits:
        pairs = zip(found, entry.commits, strict=True)
        found = [f'[{text}]({links.commit(commit)})' for text, commit in pairs]
    return ', '.join(found) or '–'


def row_link(located: Located) -> str:
    """Where a row stands, relative to the page."""
    return f'{UP}/{located.file}#L{located.line}'


def spread(entry: Entry) -> str:
    """A mean and its interval."""
    mean = entry.mean
    if mean['low'] is None:
        return f'{mean["estimate"]:.4g}'
    return f'{mean["estimate"]:.4g} [{mean["low"]:.4g}, {mean["high"]:.4g}]'


def verdict(entry: Entry) -> str:
    """How an arm compares with the reference."""
    if entry.arm == entry.reference:
        return 'reference'
    if entry.difference is None:
        return '–'
    unknown = entry.difference['standard_error'] is None  # of one seed
    return 'no verdict' if unknown else entry.difference['verdict']


def rate(entry: Entry) -> str:
    """The rate that was chosen; marked where it is on the edge of what was tried."""
    return '–' if entry.rate is None else f'{entry.rate:.3g}{" (edge)" if entry.edge else ""}'


def percent(share: float | None) -> str:
    """A share in percent; a dash for what is not known."""
    return '–' if share is None else f'{100 * share:.3g} %'


def checked(entry: Entry) -> str:
    """`yes`, or what speaks against an arm."""
    return '; '.join(entry.problems) or 'yes'
