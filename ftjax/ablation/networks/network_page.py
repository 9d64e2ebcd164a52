"""comparison.html and the table for a terminal: which pretrained network, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.pages.elements import bullets, facts, figure, flat, paragraph, section, table
from ftjax.pages.page import page
from ftjax.plotting import number_formats
from ftjax.plotting.save import figure_bytes
from ftjax.plotting.style import COLOURS, GREY, new_figure, quiet, titled
from ftjax.printable import in_figure, in_html, printable
from ftjax.tasks.metrics import as_metric

_JUDGED = 6
"""Columns of the table that judge; those after them are costs, shown in a table of their own."""
_LONGEST = 40
"""Letters of a network's name in a figure."""


def network_table(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what `compare_networks` gives, a network a row."""
    metric, rows = found['metric'], []
    for row in found['networks']:
        difference = row.get('difference')
        change, verdict = '–', 'chosen on validation'
        if difference:
            change = number_formats.score(difference['estimate'], metric, signed=True)
            bounds = number_formats.bounds(difference, metric, signed=True)
            change, verdict = f'{change} {bounds}', _words(difference['verdict'])
        parity = row['parity']
        rows.append(
            [
                row['init'],
                number_formats.score(row['validation'], metric),
                f'{number_formats.score(row["test"], metric)} {_bounds(row["interval"], metric)}',
                change,
                verdict,
                f'{row["logme"]:.3f}'.replace('-', '−'),
                number_formats.count(row['parameters']),
                number_formats.count(row['flops']),
                number_formats.seconds(row['p50_ms'] / 1000),
                number_formats.count(row['examples_per_second']),
                row['licence'],
                f'{parity["stage_error"]:.1e}' if parity else '–',
            ]
        )
    title = number_formats.title_of(metric)
    lower = '' if found['higher_is_better'] else ', lower is better'
    return [
        'network',
        f'validation {title}{lower}',
        f'test {title}{lower}',
        'difference to the choice',
        'verdict',
        'LogME',
        'parameters',
        'FLOPs',
        'latency',
        'examples/s',
        'licence',
        'parity error',
    ], rows


def network_text(found: Mapping[str, object]) -> str:
    """The table in lines for a terminal, in two parts, and the answer below it."""
    lines: list[str] = []
    for header, rows in _parted(found):
        cells = [header, *([printable(cell) for cell in row] for row in rows)]
        wide = [max(len(row[column]) for row in cells) for column in range(len(header))]
        lines += [
            *(
                '  '.join(f'{cell:<{n}}' for cell, n in zip(row, wide, strict=True))
                for row in cells
            ),
            '',
        ]
    return '\n'.join([*(line.rstrip() for line in lines), *map(printable, answer_sentences(found))])


def _parted(found: Mapping[str, object]) -> list[tuple[list[str], list[list[str]]]]:
    """The table in two: what judges a network, and what it costs; names in both."""
    header, rows = network_table(found)
    return [
        (header[:_JUDGED], [row[:_JUDGED] for row in rows]),
        ([header[0], *header[_JUDGED:]], [[row[0], *row[_JUDGED:]] for row in rows]),
    ]


def answer_sentences(found: Mapping[str, Any]) -> list[str]:
    """Which network, how sure that is, and whether LogME agrees."""
    rows, metric = found['networks'], found['metric']
    first = rows[0]
    unit = ' %' if number_formats.scale_of(metric) == 100 else ''
    said = (
        f'{first["init"]} has the best linear probe on validation; on the test split its '
        f'{as_metric(metric).label} is {number_formats.score(first["test"], metric)}{unit} '
        f'{_bounds(first["interval"], metric)}, {found["examples"]["test"]:,} examples.'
    )
    kinds: dict[str, list[str]] = {}
    for row in rows[1:]:
        kinds.setdefault(row['difference']['verdict'], []).append(row['init'])
    words = {
        'worse': 'worse on the same examples',
        'better': 'better on the same examples, although validation did not show it',
        'equivalent': 'equivalent, so that cost and licence may decide',
        'undecided': 'not told apart from it, so that cost, licence or more test examples decide',
    }
    sentences = [said]
    for kind, text in words.items():
        if kind in kinds:
            verb = 'is' if len(kinds[kind]) == 1 else 'are'
            sentences.append(f'{", ".join(kinds[kind])} {verb} {text}.')
    ranked = max(rows, key=lambda row: row['logme'])
    if ranked is not first:
        sentences.append(
            f'LogME, which sees training examples alone, ranks {ranked["init"]} first.'
        )
    return sentences


def network_page(
    found: Mapping[str, object],
    *,
    data: Sequence[str],
    command: str,
    provenance: Mapping[str, object],
) -> str:
    """The page as HTML.

    Args:
      found: what `compare_networks` gives.
      data: lines on the data: sizes, classes, what an audit found.
      command: what to do next with the choice.
      provenance: command, versions, commit.
    """
    title = 'Which pretrained network'
    parts = [f'<h1>{in_html(title)}</h1>']
    parts += [paragraph(sentence, 'answer') for sentence in answer_sentences(found)[:1]]
    parts += [paragraph(sentence) for sentence in answer_sentences(found)[1:]]
    parts += [paragraph('Which of its layers to train:'), f'<pre>{in_html(command)}</pre>']
    drawing = scores_by_network(found)
    said = 'The linear probe of each network on the test split, with its 95 % interval.'
    parts.append(figure(figure_bytes(drawing, 'svg'), drawing.get_figwidth(), said))
    tables = '\n'.join(table(*each) for each in _parted(found))
    parts.append(section('All networks', tables + _legend(found)))
    notes = _notes(found)
    if notes:
        parts.append(section('To be known', bullets(notes)))
    parts.append(section('Data', bullets(list(data))))
    parts.append(section('Provenance', facts(dict(flat(dict(provenance))))))
    return page(title, parts)


def scores_by_network(found: Mapping[str, Any]) -> Any:
    """The metric of each network on the test split with its interval; a matplotlib Figure."""
    rows, metric = found['networks'], found['metric']
    scale = number_formats.scale_of(metric)
    drawing = new_figure(7.2, 1.3 + 0.42 * len(rows))
    axes = drawing.add_subplot()
    for place, row in enumerate(rows):
        colour = COLOURS[0] if place == 0 else GREY
        if row['interval']:
            ends = [scale * bound for bound in row['interval']]
            axes.plot(ends, [place, place], color=colour, linewidth=2.4)
        axes.plot(scale * row['test'], place, 'D', color=colour, markersize=6.5, mec='white')
    axes.axvline(scale * rows[0]['test'], color=GREY, linewidth=1, linestyle='--', zorder=1)
    names = [in_figure(_shortened(row['init'])) for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    lower = '' if found['higher_is_better'] else ', lower is better'
    axes.set_xlabel(f'test {number_formats.title_of(metric)}{lower}')
    axes.set_ylabel('network')
    quiet(axes, 'x')
    titled(axes, 'Linear probe on frozen features; dashed: chosen on validation', 9)
    return drawing


def _legend(found: Mapping[str, Any]) -> str:
    metric = found['metric']
    unit = ' points' if number_formats.scale_of(metric) == 100 else ''
    margin = f'{number_formats.score(found["margin"], metric)}{unit}'
    counted = f'{found["examples"]["test"]:,} test examples'
    if found['groups']:
        counted += f' in {found["groups"]:,} groups, which are the units'
    tokens = next((row['tokens'] for row in found['networks'] if row['tokens']), None)
    length = f' of {tokens} tokens, the longest that a batch is padded to' if tokens else ''
    return paragraph(
        'Networks are frozen and see every example as it is, without augmentation. Probe: a linear '
        'head at its optimum, its penalty chosen on validation. Differences are paired over '
        f'{counted}; their 95 % intervals hold for all networks at once and give the verdicts '
        f'(equivalent: within {margin}). They cover the choice of test examples, not that of '
        'training examples or seeds. LogME: log evidence of the labels by the training features, '
        'in nats an example; compare it between networks only. FLOPs: of the forward pass of one '
        f'input{length}. Latency: its median; examples a second: in batches of 32, float32 on '
        'this machine. Parity error: largest relative error of any stage’s outputs against the '
        'original library, measured on small networks of the family (results/parity).',
        'legend',
    )


def _notes(found: Mapping[str, Any]) -> list[str]:
    notes = []
    for row in found['networks']:
        if row['edge']:
            notes.append(
                f'{row["init"]}: the best penalty ({row["penalty"]:g}) lies on the edge of those '
                'tried.'
            )
        if row['init'].startswith('random:'):
            notes.append(f'{row["init"]} has random weights: a baseline.')
    return notes


def _words(verdict: str) -> str:
    return 'no significant difference' if verdict == 'undecided' else verdict


def _bounds(interval: Sequence[float] | None, metric: str) -> str:
    if interval is None:
        return '–'
    return number_formats.bounds({'low': interval[0], 'high': interval[1]}, metric)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f'…{name[1 - _LONGEST :]}'
