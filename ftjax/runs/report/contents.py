"""The parts of the page of one run, in the order of what a reader asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ftjax.freezing.rules import FROZEN
from ftjax.pages.elements import bullets, details, facts, figure, flat, paragraph, section, table
from ftjax.pages.page import page
from ftjax.plotting import number_formats
from ftjax.plotting.learning_curves import learning_curves
from ftjax.plotting.network_picture import network_picture, stage_sizes
from ftjax.plotting.save import figure_bytes
from ftjax.printable import in_html
from ftjax.runs.report.answer import (
    answer,
    best_baseline,
    counted,
    deciding,
    metric_table,
    task_in,
)
from ftjax.runs.report.cautions import cautions
from ftjax.runs.report.latency_shown import latency_shown
from ftjax.runs.report.mistakes_shown import mistakes_shown
from ftjax.runs.report.report_facts import ReportFacts
from ftjax.runs.report.slices_shown import slices_shown
from ftjax.runs.training_summary import best_step_of
from ftjax.tasks.classes.class_table import lowest_classes
from ftjax.training.adaptation.in_words import adaptation_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LISTED = 50
"""Rows of a table, at most."""


def contents(report: ReportFacts) -> str:
    """The page of a run."""
    parts = [
        f'<h1>{in_html(report.name)}</h1>',
        paragraph(answer(report), 'answer'),
        paragraph(_what(report), 'question'),
    ]
    several = (
        ('Read this first', _cautions(report)),
        ('What was trained', _trained(report)),
        ('Data', _data(report)),
        ('Learning curves', _curves(report)),
        ('Metrics', _metrics(report)),
        ('Answers', _answers(report)),
        ('Worst mistakes', mistakes_shown(report)),
        ('Parts of the test split', slices_shown(report)),
        ('Latency', latency_shown(report.result.get('latency'))),
        ('How to make it again', _again(report)),
    )
    parts += [section(title, content) for title, content in several if content]
    return page(report.name, parts)


def _what(report: ReportFacts) -> str:
    config, result = report.config, report.result
    network = config.get('init') or (config.get('model') or {}).get('name', 'a network')
    trained, total = result.get('params_trainable'), result.get('params_total')
    share = f' ({number_formats.share(trained / total)})' if trained and total else ''
    source = (config.get('data') or {}).get('source', '')
    return (
        f'{network} on {source}, trained as {report.plan["strategy"]}: '
        f'{trained or 0:,} of {total or 0:,} parameters{share}, {result["steps"]:,} steps, seed '
        f'{result.get("seed", "?")}.'
    )


def _cautions(report: ReportFacts) -> str:
    found = cautions(report)
    spread = (
        'The intervals tell what another choice of test examples would change. They do not '
        'cover the choice of the seed: this is one run, and differences between ways of training '
        'need several seeds (scripts/ablate.py).'
    )
    return (bullets(found, 'warnings') if found else '') + paragraph(spread, 'legend')


def _trained(report: ReportFacts) -> str:
    phases = report.plan['phases']
    last = phases[-1]
    sizes = stage_sizes(last)
    rows = []
    for name, (total, moving) in sizes.items():
        leaves = [leaf for path, leaf in last['leaves'].items() if path.split('/')[0] == name]
        factors = sorted({leaf['multiplier'] for leaf in leaves if leaf['group'] != FROZEN})
        ends = dict.fromkeys([*factors[:1], *factors[-1:]])
        moves = last['stages'].get(name, {}).get('batch_stats')
        rows.append(
            [
                name + (' ← cut' if name == last['cut'] else ''),
                f'{total:,}',
                f'{moving:,}',
                number_formats.share(moving / total) if total else '–',
                ' .. '.join(f'{factor:.3g}' for factor in ends) or '–',
                'of the batch' if moves else 'frozen',
            ]
        )
    header = ['stage', 'parameters', 'trained', 'share', 'rate multiplier', 'statistics']
    said = 'Gradients go from the output back to the cut; what lies before it runs forward only.'
    picture = network_picture(phases)
    parts = [
        '<div class="figures">',
        _drawn(picture, f'The network, input at the top. {said}'),
        '<div>',
        table(header, rows),
        '</div></div>',
    ]
    if len(phases) > 1:
        starts = [
            f'From step {phase["start"]:,}: {phase["params_trainable"]:,} parameters train, cut at '
            f'{phase["cut"]}.'
            for phase in phases[:_LISTED]
        ]
        parts += [
            '<h3>Phases</h3>',
            bullets(starts),
            paragraph('The table is of the last.', 'legend'),
        ]
    adaptation = adaptation_in_words(report.result)
    if adaptation:
        parts.append(paragraph(f'This is what trained before the adaptation; {adaptation}.'))
    return '\n'.join(parts)


def _data(report: ReportFacts) -> str:
    kept = report.kept
    if kept is None:
        return _flat(report.result.get('data'))
    splits, counts, names = (
        kept.about['splits'],
        kept.about.get('counts') or {},
        kept.about['class_names'],
    )
    what = kept.about.get('kind', 'examples')
    rows = [[name, f'{n:,}'] for name, n in splits.items()]
    parts = [table(['split', str(what)], rows)]
    known = {name: of for name, of in counts.items() if of}
    if known and names:
        each = list(zip(names, *known.values(), strict=True))
        each.sort(key=lambda row: -row[1])
        rows = [[str(row[0]), *(f'{n:,}' for n in row[1:])] for row in each]
        few = len(rows) > _LISTED
        shown = [*rows[: _LISTED // 2], *rows[-_LISTED // 2 :]] if few else rows
        parts.append('<h3>Classes</h3>')
        parts.append(table(['class', *known], shown))
        if few:
            half = _LISTED // 2
            said = f'The {half} largest and the {half} smallest of {len(rows):,} classes.'
            parts.append(paragraph(said, 'legend'))
    parts.append(paragraph(_leaks(kept.about.get('leaks'))))
    return '\n'.join(parts)


def _leaks(found: Mapping[str, object] | None) -> str:
    if not found or found['exact'] is None:
        return 'Test examples were not compared with training examples.'
    near = '' if found['near'] is None else f', and {found["near"]:,} are near copies of one'
    shared = found.get('positives_in_training')
    more = '' if shared is None else f' Of {shared:,} the positive stands in training too.'
    said = f'{found["exact"]:,} of {found["n"]:,} test examples are training examples too{near}.'
    return said + more


def _curves(report: ReportFacts) -> str:
    per_epoch = _steps_per_epoch(report)
    starts = [phase['start'] / per_epoch for phase in report.plan['phases'][1:]]
    metric = deciding(report)
    best_step, reference = best_step_of(report.result), best_baseline(report, metric)
    own_loss = not (report.config.get('train') or {}).get('loss')
    unit = task_in(report).loss_unit if own_loss else ''
    drawn = learning_curves(report.history, metric.name, best_step, starts, reference, unit)
    if not drawn:
        return ''
    figures = ''.join(_drawn(each, caption) for caption, each in drawn)
    return f'<div class="figures">{figures}</div>{paragraph(_kept(report, per_epoch))}'


def _kept(report: ReportFacts, per_epoch: float) -> str:
    averaged, best = report.result.get('averaged'), best_step_of(report.result)
    after = ', adapted after the training' if report.result.get('adapted') else ''
    if averaged:
        return (
            'The curves are those of the first run; the weights kept are of no step: '
            f'{averaged["strategy"]} averaged them{after}.'
        )
    if not best or best < 0:
        return ''
    keep = (report.config.get('train') or {}).get('keep', 'best')
    return (
        f'Best validation at step {best:,} (epoch {best / per_epoch:.4g}) of '
        f'{report.result["steps"]:,}; the weights kept are those of the {keep} one{after}.'
    )


def _steps_per_epoch(report: ReportFacts) -> float:
    known = report.kept.about.get('steps_per_epoch') if report.kept is not None else None
    rows = [row for row in report.history if row.get('epoch')]
    return known or (rows[0]['step'] / rows[0]['epoch'] if rows else 1)


def _metrics(report: ReportFacts) -> str:
    header, rows = metric_table(report)
    if not rows:
        return ''
    said = (
        f'Test: {counted(report)}, measured once, with the weights that were kept. Validation '
        'chose these weights and is therefore a little too good. Baselines need no network.'
    )
    return table(header, rows) + paragraph(said, 'legend')


def _answers(report: ReportFacts) -> str:
    metrics, task = report.result['metrics'], task_in(report)
    parts = []
    if report.kept is not None and report.kept.found.rows:
        names = report.kept.about['class_names']
        pictures = task.pictures(report.kept.found, metrics, names)
        figures = ''.join(_drawn(one.figure, one.caption) for one in pictures)
        parts.append(f'<div class="figures">{figures}</div>')
    pairs = task.confusions(metrics)
    if pairs:
        rows = [
            [
                f'{pair["label"]} → {pair["predicted"]}',
                f'{pair["count"]:,}',
                number_formats.share(pair['share']),
            ]
            for pair in pairs
        ]
        header = ['true → answered', 'examples', 'share of the true class']
        parts += ['<h3>Confused pairs</h3>', table(header, rows)]
    classes = metrics.get('per_class')
    if classes:
        columns = [key for key in classes[0] if key not in ('name', 'support')]
        lowest, label = lowest_classes(classes, columns, _LISTED)
        rows = [
            [str(row['name']), *(_plain(row[key]) for key in columns), f'{row["support"]:,}']
            for row in (lowest if len(classes) > _LISTED else classes)
        ]
        header = ['class', *(key.replace('_', ' ') for key in columns), 'test examples']
        parts += ['<h3>Classes</h3>', table(header, rows)]
        if len(classes) > _LISTED:
            said = f'The {_LISTED} of {len(classes):,} classes with the lowest {label}.'
            parts.append(paragraph(said, 'legend'))
    return '\n'.join(parts)


def _plain(value: float | None) -> str:
    return '–' if value is None else f'{value:.3f}'


def _flat(value: object) -> str:
    return facts(dict(flat(value))) if value else ''


def _again(report: ReportFacts) -> str:
    result = report.result
    made = result.get('provenance') or {}
    told: dict[str, object] = {
        'command': made.get('command'),
        'git': made.get('git'),
        'seed': result.get('seed'),
        'data fingerprint': result.get('data_fingerprint'),
        'identity': result.get('identity'),
        'wall time': number_formats.seconds(result.get('wall_seconds')),
        'step': number_formats.seconds(result.get('step_seconds_median')),
        'compile time': number_formats.seconds(result.get('compile_seconds')),
        'peak memory': _bytes(result.get('peak_memory_bytes')),
        'created': made.get('created'),
        'host': made.get('host'),
        'versions': made.get('versions') or result.get('versions'),
    }
    known = {name: value for name, value in told.items() if value is not None}
    return _flat(known) + details('config.json', json.dumps(report.config, indent=1))


def _bytes(value: int | None) -> str | None:
    return None if value is None else f'{value / 2**20:,.0f} MiB'


def _drawn(drawing: Figure, caption: str) -> str:
    return figure(figure_bytes(drawing, 'svg'), drawing.get_figwidth(), caption)
