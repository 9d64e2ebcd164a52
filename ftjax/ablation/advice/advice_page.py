"""advice.html: the answer in two sentences, and what it stands on; one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftjax.ablation.advice.recommendation import Advice
from ftjax.ablation.report import arm_cells
from ftjax.ablation.report.figures import Drawn, drawable
from ftjax.ablation.report.figures_front import differences_by_cost
from ftjax.ablation.report.html import drawn_figure
from ftjax.ablation.statistics.row_types import Summary
from ftjax.ablation.summary.good_enough import COSTS, cost_against
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.json.json_values import JsonObject
from ftjax.pages.elements import bullets, facts, flat, paragraph, section, table
from ftjax.pages.page import page
from ftjax.plotting import number_formats
from ftjax.printable import in_html


def advice_page(
    advice: Advice,
    summary: Summary,
    *,
    data: Sequence[str],
    command: str,
    notes: Sequence[str],
    not_compared: Mapping[str, str],
    provenance: JsonObject,
) -> str:
    """The page as HTML.

    Args:
      advice: from `recommend`.
      summary: that it was made from.
      data: lines on the data: sizes, classes, what an audit found.
      command: trains the choice.
      notes: sentences on what was run, the budget among them.
      not_compared: {strategy: why it was no arm}.
      provenance: command, versions, commit.
    """
    title = 'What to freeze'
    parts = [f'<h1>{in_html(title)}</h1>']
    parts += [paragraph(sentence, 'answer') for sentence in advice.sentences]
    if advice.choice is not None:
        parts.append(paragraph('To train it on the same data:'))
        parts.append(f'<pre>{in_html(command)}</pre>')
    figure = differences_by_cost(drawable(summary)['tasks'][0], drawable(summary))
    if figure is not None:
        caption = f'What every arm gives up and what it saves, against {summary["reference"]}'
        parts.append(drawn_figure(Drawn('differences_by_cost', caption, None, figure)))
    parts.append(section('All arms', table(*arms_table(summary)) + facts(_columns_told(summary))))
    parts.append(section('What is not decided', _undecided(advice, summary)))
    if advice.left_out or not_compared:
        told = {**not_compared, **advice.left_out}
        parts.append(section('Left out', bullets([f'{arm}: {why}.' for arm, why in told.items()])))
    parts.append(section('Data', bullets(list(data))))
    parts.append(section('What was run', bullets([*notes, *summary['caveats']])))
    parts.append(section('Provenance', facts(dict(flat(to_jsonable(dict(provenance)))))))
    return page(title, parts)


def arms_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows of all arms: score, difference with interval, verdict, costs as shares."""
    metric, name = summary['metric'], summary['reference']
    arms = summary['tasks'][0]['arms']
    reference = next(arm for arm in arms if arm['arm'] == name)
    header = [
        *('arm', f'mean {number_formats.headed(summary)}', f'difference to {name}', 'verdict'),
        *('rate', 'trained parameters', *(f'{words}, share of {name}' for _, words in COSTS)),
        *('finished runs', 'duration of a run'),
    ]
    rows = []
    for arm in arms:
        shares = [cost_against(arm, reference, key) for key, _ in COSTS]
        rows.append(
            [
                arm['arm'],
                number_formats.score(arm['mean'] and arm['mean']['estimate'], metric),
                arm_cells.difference(arm, metric),
                _verdict(arm, reference),
                number_formats.rate(arm['rate'], arm['rate_edge']),
                number_formats.share(arm['trainable_share']),
                *('–' if share is None else f'{share:.2g}' for share in shares),
                str(arm['n_ok']),
                number_formats.seconds(arm['wall_seconds']),
            ]
        )
    return header, rows


def _verdict(arm: Summary, reference: Summary) -> str:
    found = arm['difference']
    if found is None:
        return 'reference' if arm is reference else '–'
    return 'no verdict' if found['standard_error'] is None else found['verdict']


def _columns_told(summary: Summary) -> dict[str, str]:
    """{title: meaning} of the columns of `arms_table`."""
    name, level = summary['reference'], f'{100 * summary["confidence"]:g} %'
    unit = ' points' if number_formats.scale_of(summary['metric']) == 100 else ''
    margin = f'{number_formats.score(summary["margin"], summary["metric"])}{unit}'
    told = [
        f'A way of training: what is frozen. Each is compared with {name}, the reference.',
        'Mean over seeds.',
        f'Paired over seeds, with {level} intervals that hold for all arms at once.',
        f'Read off that interval: better or worse if it leaves out 0; equivalent if it lies within '
        f'±{margin} of {name}; else undecided.',
        'Learning rate, chosen on validation data. An arrow marks one on the edge of what was '
        'tried: a better one may lie beyond it.',
        'As a share of all parameters of the network.',
        *(_COSTS_TOLD[key] for key, _ in COSTS),
        'At the chosen rate, one for each seed.',
        'Time of training with its compilation and its looks at validation data, averaged over '
        'runs.',
    ]
    return dict(zip(arms_table(summary)[0], told, strict=True))


_COSTS_TOLD = {
    'step_seconds': 'Time to train on one batch, the median of a run. 0.5: half that of the '
    'reference.',
    'step_bytes': 'Memory that the compiled step takes.',
    'optimizer_bytes': 'Memory of what the optimizer keeps of trained parameters.',
}


def _undecided(advice: Advice, summary: Summary) -> str:
    if not advice.undecided:
        return paragraph('Every arm has a verdict, or is listed below as left out.')
    lines = []
    for one in advice.undecided:
        more = 'how many further seeds would decide it cannot be told'
        if one.seeds is not None:
            time = '' if one.seconds is None else f', about {number_formats.seconds(one.seconds)}'
            seeds = 'seed' if one.seeds == 1 else 'seeds'
            more = f'{one.seeds} further {seeds} would decide it{time}'
        lines.append(f'{one.arm}: no significant difference to {summary["reference"]}; {more}.')
    return bullets(lines)
