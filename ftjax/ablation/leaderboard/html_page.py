"""The leaderboard as one page: filters by setting, metric and budget, without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftjax.ablation.leaderboard import markdown_page as text
from ftjax.ablation.leaderboard.config_links import Links
from ftjax.ablation.leaderboard.entries import BUDGETS, Entry
from ftjax.ablation.leaderboard.submissions import Submission
from ftjax.pages.elements import bullets, paragraph, section
from ftjax.pages.page import page
from ftjax.printable import in_html

LOOK = (
    '.filters { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; margin: 1rem 0; }'
    '.filters label { font-weight: 600; font-size: .9rem; } .filters select { margin-left: .4rem; '
    'font: inherit; max-width: 22rem; } td.told { text-align: left; '
    'min-width: 12rem; } .board tbody th { white-space: normal; min-width: 9rem; } .board td.arm { '
    'text-align: left; } .board td.seeds { min-width: 13rem; } '
    '.board td { white-space: nowrap; } .board td.told, .board td.seeds { white-space: normal; } '
    '.board th:last-child { text-align: left; }'
    'main { max-width: 96rem; }'
)


def html(
    entries: Sequence[Entry],
    without: Mapping[str, str],
    handed_in: Sequence[Submission],
    links: Links,
) -> str:
    """The page; asks for no other file and runs no script: filters are rules of its style sheet."""
    settings = list(dict.fromkeys(entry.setting for entry in entries))
    metrics = list(dict.fromkeys(entry.metric for entry in entries))
    budgets = [f'at most {100 * share:g} %' for share in BUDGETS]
    filters = (
        ('setting', settings, [f's{n}' for n in range(len(settings))]),
        ('metric', metrics, [f'm{n}' for n in range(len(metrics))]),
        ('cost of a step', budgets, [f'b{n}' for n in range(len(budgets))]),
    )
    rows = [row(entry, settings, metrics, links) for entry in entries]
    head = ''.join(f'<th scope="col">{name}</th>' for name in ('setting', 'metric', *text.COLUMNS))
    listed = (
        '<div class="wide" tabindex="0"><table class="board">'
        f'<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
    said = [f'{one.name}: {"; ".join(one.problems) or "counts"}' for one in handed_in]
    parts = [
        f'<style>{LOOK}{rules(filters)}</style>',
        '<h1>Leaderboard</h1>',
        paragraph(text.HOW_TO_READ.replace('`', '').replace('*', ''), 'legend'),
        '<p><a href="HOW_TO_ADD.md">How to add an arm</a></p>',
        ''.join(['<div class="filters">', *(chooser(*one) for one in filters), '</div>']),
        listed,
        section('Submissions', bullets(said or ['none yet'])),
    ]
    if without:
        told = [f'{name}: {why}' for name, why in without.items()]
        parts.append(section('Not listed', bullets(told)))
    return page('Leaderboard', parts)


def chooser(name: str, options: Sequence[str], keys: Sequence[str]) -> str:
    """A list to choose from; its first entry is no filter."""
    listed = ''.join(
        f'<option value="{key}">{in_html(option)}</option>'
        for option, key in zip(options, keys, strict=True)
    )
    return f'<label>{name} <select><option value="">all</option>{listed}</select></label>'


def rules(filters: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> str:
    """For every choice: rows that are not of it are not shown."""
    return ''.join(
        f'body:has(option[value="{key}"]:checked) .board tbody tr:not(.{key}){{display:none}}'
        for _, _, keys in filters
        for key in keys
    )


def row(entry: Entry, settings: Sequence[str], metrics: Sequence[str], links: Links) -> str:
    """The row of an entry, with the classes that the filters look for."""
    fits = [f'b{n}' for n, most in enumerate(BUDGETS) if entry.cost and entry.cost <= most]
    kinds = [f's{settings.index(entry.setting)}', f'm{metrics.index(entry.metric)}', *fits]
    config = links.config(entry.seeds[0][1].file)
    seeds = ' '.join(
        link(text.row_link(located), f'{located.row["seed"]}: {score:.4g}')
        for score, located in entry.seeds
    )
    plain = text.cells(entry, links)
    before = [
        link(text.row_link(entry.seeds[0][1]), text.spread(entry)),
        in_html(text.verdict(entry)),
    ]
    after = [
        *(in_html(cell) for cell in plain[4:9]),
        ', '.join(commit(one, links) for one in entry.commits) or '–',
        link(f'{text.UP}/{config}', 'config') if config else '–',
    ]
    return (
        f'<tr class="{" ".join(kinds)}"><th scope="row">{in_html(entry.setting)}</th>'
        + f'<td>{in_html(entry.metric)}</td><td class="arm">{in_html(entry.arm)}</td>'
        + ''.join(f'<td>{cell}</td>' for cell in before)
        + f'<td class="seeds">{seeds}</td>'
        + ''.join(f'<td>{cell}</td>' for cell in after)
        + f'<td class="told">{in_html(text.checked(entry))}</td></tr>'
    )


def commit(name: str, links: Links) -> str:
    """A commit, with its address where one is known."""
    return link(links.commit(name), name) if links.commits else in_html(name)


def link(address: str, words: str) -> str:
    """A link; both are written as text."""
    return f'<a class="nb" href="{in_html(address)}">{in_html(words)}</a>'
