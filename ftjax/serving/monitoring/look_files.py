"""The files that a look at the windows leaves: state, page, gauges; each whole or as it was."""

from __future__ import annotations

import pathlib

from ftjax.io.files.atomic import write_json, write_text
from ftjax.serving.monitoring.compare_windows import Look, thresholds
from ftjax.serving.monitoring.gauges import FILE, TEXT, Gauge, prometheus_text
from ftjax.serving.monitoring.monitor_page import monitor_page
from ftjax.serving.monitoring.stream_state import write_state

PAGE = 'monitor.html'


def gauges_of(look: Look) -> list[Gauge]:
    """The numbers of a look, each of KINDS."""
    state = look.state
    found = [
        Gauge('ftjax_drift_alarm', of, float(of in look.alarms)) for of in ('traffic', 'accuracy')
    ]
    found += [
        Gauge('ftjax_drift_limit', of, value) for of, value in thresholds(state.alpha).items()
    ]
    found.append(Gauge('ftjax_drift_evidence', 'accuracy', state.label_evidence.value))
    if state.periods:
        last = state.periods[-1]
        found.append(Gauge('ftjax_drift_evidence', 'traffic', last['evidence']))
        for name, row in last['statistics'].items():
            found.append(Gauge('ftjax_drift_evidence', name, row['evidence']))
            if 'statistic' in row:
                found.append(Gauge('ftjax_drift_statistic', name, row['statistic']))
        found.append(Gauge('ftjax_drift_last_end_seconds', '', float(last['end'])))
    found.append(Gauge('ftjax_drift_periods', '', float(len(state.periods))))
    found.append(Gauge('ftjax_drift_waiting_windows', '', float(look.waiting)))
    found.append(Gauge('ftjax_drift_unreadable_windows', '', float(len(look.folder.problems))))
    if look.accuracy:
        last_labels = look.accuracy[-1]
        found.append(Gauge('ftjax_drift_accuracy', '', last_labels.right / last_labels.count))
    return found


def write_look(folder: pathlib.Path, look: Look, bundle_name: str) -> None:
    """Writes monitor.html, monitor.prom, monitor.json and last the state.

    A kill before the state is written costs nothing: the next look tests the same windows with
    the same seeds, and comes to the same numbers.
    """
    gauges = gauges_of(look)
    write_text(folder / PAGE, monitor_page(look, bundle_name))
    write_text(folder / TEXT, prometheus_text(gauges, look.state.bundle))
    write_json(
        folder / FILE,
        {
            'bundle': look.state.bundle,
            'alpha': look.state.alpha,
            'alarms': look.alarms,
            'gauges': gauges,
            'periods': look.state.periods[-200:],
            'problems': look.folder.problems[:20],
        },
    )
    write_state(folder, look.state)
