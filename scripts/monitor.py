r"""Compares a server's traffic with the reference in its bundle; made for cron.

    python scripts/serve.py --bundle=bundles/digits --monitor=windows/digits &
    python scripts/monitor.py --bundle=bundles/digits --windows=windows/digits

Each window of time is tested once, from a minute after its end on (a server writes it until then),
against the reference and all windows before it: features by a classifier, confidence, predicted
classes, sizes and gaps of inputs; and accuracy, once labels are there (--labels=FILE, .csv or
.jsonl, with columns id and label; an id is the request's id, a slash and the number of the input).
Of a request with several inputs one is compared, and only its label counts: they may be alike.
Evidence adds up over the windows. Where nothing has changed and requests are independent the chance
of any alarm is --alpha at most, over all windows together, however often one looks. Requests that
come in groups (one patient, one camera) are not, and alarm without a change.

It writes monitor.html, monitor.prom (gauges for Prometheus' textfile collector; a server with the
same --monitor has them in /metrics too), monitor.json and its state to WINDOWS/monitor, or to
--output. An alarm stays until --restart begins a new stream.

The exit code is 0 where all is fine, 1 for an alarm, 2 for an error, a window that cannot be read
included.

    0 6 * * 1  cd /srv && python scripts/monitor.py --bundle=.. --windows=.. || mail -s drift me
"""

import pathlib
import sys
import time

from absl import flags

from ftjax.cli import launch

BUNDLE = flags.DEFINE_string('bundle', None, 'Folder of the bundle.', required=True)
WINDOWS = flags.DEFINE_string('windows', None, 'Folder that the server writes.', required=True)
LABELS = flags.DEFINE_string('labels', None, 'Labels that have arrived: id and label.')
OUTPUT = flags.DEFINE_string('output', None, 'Folder for page and state; WINDOWS/monitor.')
ALPHA = flags.DEFINE_float('alpha', 0.05, 'Chance of any false alarm, over all windows.')
FEWEST = flags.DEFINE_integer('fewest', 50, 'Answers that are tested together.', 20)
PERMUTATIONS = flags.DEFINE_integer('permutations', 1999, 'Divisions of a test.', 99, 99_999)
PRESENT = flags.DEFINE_bool('present', False, 'Count windows that are not over as if they were.')
RESTART = flags.DEFINE_bool('restart', False, 'Begin a new stream, after an alarm for instance.')


def main():
    from ftjax.serving.monitoring.gauges import FOLDER
    from ftjax.serving.monitoring.look_files import PAGE
    from ftjax.serving.monitoring.monitor_folder import monitor_folder

    output = pathlib.Path(OUTPUT.value or pathlib.Path(WINDOWS.value) / FOLDER)
    found = monitor_folder(
        pathlib.Path(BUNDLE.value),
        pathlib.Path(WINDOWS.value),
        output,
        labels=LABELS.value,
        alpha=ALPHA.value,
        fewest=FEWEST.value,
        permutations=PERMUTATIONS.value,
        now=float('inf') if PRESENT.value else time.time(),
        restart=RESTART.value,
    )
    for line in found.lines:
        print(line)
    print(f'page: {output / PAGE}')
    for problem in found.look.folder.problems[:10]:
        print(f'error: {problem}', file=sys.stderr)
    if found.look.alarms:
        return 1
    return 2 if found.look.folder.problems else 0


if __name__ == '__main__':
    launch.run(main)
