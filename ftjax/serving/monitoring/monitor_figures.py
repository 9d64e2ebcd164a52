"""Figures of monitor.html."""

from __future__ import annotations

import numpy as np

from ftjax.plotting.save import figure_bytes
from ftjax.plotting.style import COLOURS, GREY, INK, new_figure, quiet
from ftjax.serving.bundle.reference import Reference
from ftjax.serving.monitoring.periods import Period
from ftjax.serving.monitoring.stream_state import StreamState


def evidence_figure(state: StreamState, limit: float) -> bytes:
    """Evidence by period on a logarithmic axis, with the alarm; SVG."""
    made = new_figure(8.0, 3.2)
    axes = made.subplots()
    periods = state.periods[-200:]
    places = np.arange(len(state.periods) - len(periods) + 1, len(state.periods) + 1)
    for number, name in enumerate(state.statistics):
        values = [row['statistics'][name]['evidence'] for row in periods]
        axes.plot(places, values, color=COLOURS[number], lw=1, alpha=0.8, label=name)
    total = [row['evidence'] for row in periods]
    axes.plot(places, total, color=INK, lw=2, marker='o', ms=3, label='all, which alarms')
    axes.axhline(limit, color=GREY, ls='--', lw=1.2, label='alarm')
    axes.set_yscale('log')
    axes.set_xlabel('period')
    axes.set_ylabel('evidence of a change')
    if len(places) < 12:
        axes.set_xticks(places)
    quiet(axes)
    made.legend(loc='outside right upper', fontsize=8, frameon=False)
    return figure_bytes(made, 'svg')


def confidence_figure(reference: Reference, period: Period) -> bytes:
    """Histograms of the confidence of reference and period; SVG."""
    made = new_figure(6.0, 2.8)
    axes = made.subplots()
    new = period.histogram.astype(float)
    new[1] += new[0]  # what lies outside the edges, at the ends
    new[-2] += new[-1]
    for values, name, number in (
        (reference.histogram, 'reference', 0),
        (new[1:-1], 'last period', 1),
    ):
        shares = values / max(1, values.sum())
        axes.stairs(shares, reference.edges, color=COLOURS[number], lw=1.8, label=name)
    axes.set_xlabel('probability of the answer' if len(period.predicted) else 'answer')
    axes.set_ylabel('share')
    axes.legend(fontsize=8, frameon=False)
    quiet(axes)
    return figure_bytes(made, 'svg')
