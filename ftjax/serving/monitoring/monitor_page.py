"""monitor.html: whether traffic still looks like the reference, and where it does not."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.intervals import wilson_interval
from ftjax.pages.elements import bullets, facts, figure, paragraph, section, table
from ftjax.pages.page import page
from ftjax.printable import in_html
from ftjax.serving.monitoring.compare_windows import LABELS, Look, thresholds
from ftjax.serving.monitoring.monitor_figures import confidence_figure, evidence_figure
from ftjax.serving.monitoring.stream_state import StreamState

NAMES = {
    'features': 'features: AUC of a classifier',
    'confidence': 'confidence: KS distance',
    'classes': 'predicted classes: PSI',
    'inputs': 'inputs: KS distance',
}
_ROWS = 60


def monitor_page(look: Look, bundle_name: str) -> str:
    """The page of a look."""
    state = look.state
    parts = [
        f'<h1>Traffic of {in_html(bundle_name)}</h1>',
        paragraph(
            'Does what is asked of the network still look like what it was tested on?', 'question'
        ),
        paragraph(_verdict(look), 'answer'),
        _warnings(look),
    ]
    if state.periods:
        last = state.periods[-1]
        parts += [_last(look, last), _evidence(state)]
        if look.tested:
            parts += [_classes(look), _measures(look)]
    if look.accuracy:
        parts.append(_accuracy(look))
    if state.periods:
        parts.append(_history(state.periods))
    parts.append(_method(state, look))
    return page(f'Traffic of {bundle_name}', parts)


def when(seconds: float) -> str:
    """A time for people, UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime('%Y-%m-%d %H:%M')


def _verdict(look: Look) -> str:
    state, number = look.state, len(look.state.periods)
    if 'traffic' in look.alarms:
        limit = thresholds(state.alpha)['traffic']
        first = next((row for row in state.periods if row['evidence'] >= limit), None)
        since = f'; the alarm came with the period from {when(first["start"])}' if first else ''
        more = ' Its accuracy has fallen too.' if 'accuracy' in look.alarms else ''
        return f'ALARM: the traffic differs from the reference{since}.{more}'
    if 'accuracy' in look.alarms:
        return 'ALARM: accuracy is below that of the reference.'
    if not number and not look.accuracy:
        return 'Nothing was tested yet.'
    return f'No alarm in {number} period{"s" * (number != 1)}.'


def _warnings(look: Look) -> str:
    told = [f'cannot be read: {problem}' for problem in look.folder.problems[:10]]
    if len(look.folder.problems) > 10:
        told.append(f'and {len(look.folder.problems) - 10} more files')
    if look.late:
        told.append(f'{look.late} windows came after their time was tested, and are left out')
    if look.folder.others:
        told.append(f'{look.folder.others} windows are of other bundles, and are left out')
    if look.unknown_labels:
        told.append(f'{look.unknown_labels} labels belong to no answer in a sample')
    for period in look.tested:
        if period.unusable:
            told.append(f'{period.unusable} answers from {when(period.start)} on were not finite')
    return bullets(told, 'warnings') if told else ''


def _last(look: Look, last: dict[str, Any]) -> str:
    rows = []
    for name, row in last['statistics'].items():
        told = f'{NAMES[name]} ({row["of"]})' if row.get('of') else NAMES[name]
        if 'statistic' in row:
            shown = (f'{row["statistic"]:.3f}', f'{row["typical"]:.3f}', f'{row["p"]:.2g}')
        else:
            shown = ('too few', '–', '–')
        alone = f'{row["to_reference"]:.3f}' if 'to_reference' in row else '–'
        rows.append((told, alone, *shown, f'{row["evidence"]:.3g}'))
    header = (
        *('', 'beside the reference', 'beside all before', 'by chance', 'p'),
        'evidence of all periods',
    )
    told = (
        f'{when(last["start"])} to {when(last["end"])} UTC: {last["seen"]:,} answers, of which '
        f'{last["sample"]} are compared; {last["refused"]:,} requests were refused.'
    )
    content = paragraph(told) + table(header, rows)
    if look.tested:
        drawing = confidence_figure(look.reference, look.tested[-1])
        content += figure(drawing, 6.0, 'Confidence of the answers, as shares of all of them')
    return section('The last period', content)


def _evidence(state: StreamState) -> str:
    limit = thresholds(state.alpha)['traffic']
    drawing = evidence_figure(state, limit)
    caption = f'Evidence of a change by period; the alarm is at {limit:.3g}'
    return section('Evidence', figure(drawing, 8.0, caption))


def _classes(look: Look) -> str:
    names, period = look.signature.class_names, look.tested[-1]
    if not len(period.predicted):
        return ''
    old = look.reference.predicted / max(1, look.reference.predicted.sum())
    new = period.predicted / max(1, period.predicted.sum())
    order = np.argsort(-np.abs(new - old), kind='stable')[:12]
    rows = [(names[c], f'{100 * old[c]:.1f} %', f'{100 * new[c]:.1f} %') for c in order]
    told = paragraph('Those that changed most.', 'legend')
    return section('Predicted classes', told + table(('', 'reference', 'last period'), rows))


def _measures(look: Look) -> str:
    names, rows = look.reference.measure_names, []
    for place, name in enumerate(names):
        pair = [side.measures[:, place] for side in (look.reference, look.tested[-1].rows)]
        rows.append((name, *(_mean(column) for column in pair)))
    if not rows:
        return ''
    told = paragraph('Means; of gaps the share of rows that have one.', 'legend')
    return section('Inputs', told + table(('', 'reference', 'last period'), rows))


def _mean(column: np.ndarray) -> str:
    known = column[~np.isnan(column)]
    return f'{known.mean():.4g}' if len(known) else '–'


def _accuracy(look: Look) -> str:
    def row(name: str, right: int, count: int) -> tuple[str, ...]:
        low, high = wilson_interval(right, count)
        return (
            name,
            f'{100 * right / count:.1f} % [{100 * low:.1f}, {100 * high:.1f}]',
            f'{count:,}',
        )

    rows = [row(when(one.start), one.right, one.count) for one in look.accuracy[-_ROWS:]]
    if look.reference.labelled:
        rows.insert(0, row('reference', look.reference.right, look.reference.labelled))
    evidence = look.state.label_evidence.value
    limit = thresholds(look.state.alpha)['accuracy']
    told = f'Evidence of a fall: {evidence:.3g}; the alarm is at {limit:.3g}.'
    header = ('from', 'accuracy, with 95 % interval', 'labels')
    return section('Accuracy', paragraph(told) + table(header, rows))


def _history(periods: Sequence[dict[str, Any]]) -> str:
    rows = []
    for row in list(periods)[-_ROWS:][::-1]:
        values = (one.get('statistic') for one in row['statistics'].values())
        shown = ('–' if value is None else f'{value:.3f}' for value in values)
        rows.append((when(row['start']), f'{row["seen"]:,}', *shown, f'{row["evidence"]:.3g}'))
    header = ('from', 'answers', *periods[-1]['statistics'], 'evidence')
    return section('Periods', table(header, rows))


def _method(state: StreamState, look: Look) -> str:
    limits, old = thresholds(state.alpha), look.reference
    alone = f', of which one of each of {old.groups:,} groups is compared' if old.groups else ''
    told = {
        'false alarms': f'with a chance of at most {100 * state.alpha:g} % over the whole stream, '
        'however long it is and however often one looks, if nothing has changed and requests are '
        'independent: of each one answer is compared',
        'how': 'each period is compared with the reference and all periods before it, by random '
        'divisions of all examples; the p of the periods are multiplied up to a conformal test '
        'martingale, whose chance to ever reach 1 / alpha is at most alpha (Ville)',
        'alarm': f'evidence of traffic {limits["traffic"]:.4g}, of accuracy '
        f'{limits["accuracy"]:.4g} ({100 * LABELS:g} % of alpha are kept for labels)',
        'an alarm says': 'that traffic and reference differ, not that answers are wrong: labels '
        'tell that. It stays until --restart begins a new stream',
        'reference': f'{old.count:,} examples of the {old.split} split{alone}',
        'windows that wait': f'{look.waiting}: not over, or too small to be tested alone',
        'bundle': state.bundle,
    }
    return section('How it is tested', facts(told))
