"""Measures how fast a trained network answers.

    python scripts/latency.py --workdir=runs/digits --batch_sizes=1,8,64

Prints p50, p95 and p99 of a call and examples a second, by batch size and, for texts, by length; in
float32, with weights in bfloat16, and computing in bfloat16, with the change in outputs; the
compiler's memory; and the seconds from an empty process to the first answer, without and with
compiled programs kept on disk. Of a finished run all of it becomes the section `latency` of
result.json; --output=FILE.json writes it elsewhere. Nothing else should run on the machine.
"""

import pathlib

from absl import flags

from ftjax.cli import launch

WORKDIR = launch.define_workdir(
    said='Folder of a run, its model/ folder, or a checkpoint: what config.init takes.'
)
PARTS = launch.define_own_parts()
ALLOW_CODE = launch.define_allow_code_change()
BATCHES = flags.DEFINE_list('batch_sizes', ['1', '8', '64'], 'Examples a batch.')
LENGTHS = flags.DEFINE_list('lengths', [], 'Tokens a text; the shortest and longest if left out.')
CALLS = flags.DEFINE_integer('calls', 100, 'Calls of each kind.')
START = flags.DEFINE_bool('start', True, 'Measure starts of a process too.')
TASK = flags.DEFINE_string('task', '', 'Of a checkpoint that does not say it.')
OUTPUT = flags.DEFINE_string('output', None, 'JSON file for what was measured.')


def main():
    from ftjax.evaluation.latency import PROTOCOL, Calls
    from ftjax.io.files.atomic import read_json, write_json
    from ftjax.io.files.lock import run_lock
    from ftjax.runs.assessment.latency_report import LatencyRequest, latency_report
    from ftjax.runs.prediction.trained import run_of
    from ftjax.runs.report.run_report import PAGE, write_report

    request = LatencyRequest(
        init=WORKDIR.value,
        batch_sizes=numbers(BATCHES.value, 'batch_sizes'),
        lengths=numbers(LENGTHS.value, 'lengths'),
        calls=Calls(CALLS.value, 0.5),
        start=START.value,
        parts=PARTS.value,
        task=TASK.value,
        allow_code_change=ALLOW_CODE.value,
    )
    print(PROTOCOL)
    found = latency_report(request, print)
    if OUTPUT.value:
        write_json(OUTPUT.value, found)
    run = run_of(pathlib.Path(WORKDIR.value))
    if run is not None and (run / 'result.json').exists():
        with run_lock(run):
            write_json(run / 'result.json', {**read_json(run / 'result.json'), 'latency': found})
        print(f'kept in {run / "result.json"}: latency')
        if (run / PAGE).exists():
            print(f'and in {write_report(run)}')


def numbers(words, name):
    """Whole numbers from words."""
    from ftjax.errors import UserError

    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise UserError(f'--{name} is {",".join(words)}; expected whole numbers: 1,8') from None


if __name__ == '__main__':
    launch.run(main)
