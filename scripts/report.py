"""Writes the report of a finished run again, from what the run's folder holds.

    python scripts/report.py --workdir=runs/digits

A run writes report.html at its end by itself, unless --config.train.report=False. This script
needs neither the data nor the network: the folder's report.json and test_examples.npz hold what is
shown of them. Without these two the page has no mistakes and no parts of the test split.
"""

import pathlib

from ftjax.cli import launch

WORKDIR = launch.define_workdir()
PARTS = launch.define_own_parts()


def main():
    from ftjax.io.identity.own_parts import restore
    from ftjax.runs.report.answer import answer
    from ftjax.runs.report.run_report import PAGE, RunReport

    folder = pathlib.Path(WORKDIR.value)
    report = RunReport.read(folder)
    restore(folder, PARTS.value)
    report.save(folder / PAGE)
    print(answer(report))
    print(f'report: {folder / PAGE}')


if __name__ == '__main__':
    launch.run(main)
