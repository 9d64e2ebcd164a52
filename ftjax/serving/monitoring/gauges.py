"""What monitoring found as gauges: a text file for Prometheus, and JSON that a server reads."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_reader import JsonLimits, read_object
from ftjax.io.json.json_values import ListOf, Number, Table, Text, check
from ftjax.serving.monitoring.stream_state import STATISTICS

FILE, TEXT = 'monitor.json', 'monitor.prom'
FOLDER = 'monitor'
"""Within the folder of windows."""
LIMITS = JsonLimits(size=2**22, depth=8, duplicates=False)
KINDS = {
    'ftjax_drift_alarm': 'Whether an alarm was raised: 1, or 0.',
    'ftjax_drift_evidence': 'Evidence of a change; an alarm from ftjax_drift_limit on.',
    'ftjax_drift_limit': 'What evidence has to reach for an alarm.',
    'ftjax_drift_statistic': 'AUC, distance or index of the last period.',
    'ftjax_drift_periods': 'Periods that were tested.',
    'ftjax_drift_last_end_seconds': 'End of the last period that was tested.',
    'ftjax_drift_waiting_windows': 'Windows that are not tested yet.',
    'ftjax_drift_unreadable_windows': 'Files of windows that cannot be read.',
    'ftjax_drift_accuracy': 'Accuracy of the last time with labels.',
}
_OF = ('', 'traffic', 'accuracy', *STATISTICS)


@dataclasses.dataclass(frozen=True)
class Gauge:
    """One number."""

    name: str
    of: str
    """A kind of alarm or a statistic; '' for the whole."""
    value: float


def prometheus_text(gauges: Sequence[Gauge], bundle: str) -> str:
    """Gauges in the text format of Prometheus.

    >>> print(prometheus_text([Gauge('ftjax_drift_periods', '', 3.0)], 'ab' * 32), end='')
    # HELP ftjax_drift_periods Periods that were tested.
    # TYPE ftjax_drift_periods gauge
    ftjax_drift_periods{bundle="abababababab",of=""} 3.0
    """
    lines = []
    for name, told in KINDS.items():
        own = [one for one in gauges if one.name == name]
        if own:
            lines += [f'# HELP {name} {told}', f'# TYPE {name} gauge']
        for one in own:
            labels = f'bundle="{bundle[:12]}",of="{one.of}"'
            lines.append(f'{name}{{{labels}}} {one.value!r}')
    return '\n'.join(lines) + '\n'


def read_gauges(folder: pathlib.Path, bundle: str) -> list[Gauge]:
    """The gauges in monitor.json; [] where there is none, or it is of another bundle.

    Raises:
      UserError: a file that scripts/monitor.py does not write.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    found = read_object(path, LIMITS)
    if found.get('bundle') != bundle:
        return []
    rows: Any = check(found.get('gauges'), f'{path}: gauges', ListOf(Table(), 0, 100))
    gauges = []
    for row in rows:
        if set(row) != {'name', 'of', 'value'}:
            raise UserError(f'{path}: a gauge has name, of and value, no more')
        check(row['name'], f'{path}: name', Text(tuple(KINDS)))
        check(row['of'], f'{path}: of', Text(_OF))
        check(row['value'], f'{path}: value', Number(-1e300, 1e300))
        gauges.append(Gauge(row['name'], row['of'], float(row['value'])))
    return gauges
