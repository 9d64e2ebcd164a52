"""Starts scripts in forks of a process that has imported everything: a start costs no imports.

    python scripts/faults/fork_server.py

Reads orders from stdin, a JSON object a line, and answers each with one: {"start": [script,
argument, ..], "log": file, "env": {..}} with the child's "pid"; {"wait": pid} with its "status",
None while it runs, and {"call": [command, ..]} with the "status" of a command. Children are whole
processes: signals, SIGKILL too, end them as they end any other.
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
import warnings

IMPORTS = (
    *(
        'ftjax.cli.launch',
        'ftjax.api',
        'ftjax.runs.before_training.memory_plan',
        'ftjax.tasks.metrics_text',
    ),
    *(
        'ftjax.ablation.cells.task_grids',
        'ftjax.ablation.engines.engine',
        'ftjax.ablation.report.results_folder',
    ),
    *('orbax.checkpoint', 'sklearn.datasets', 'sklearn.metrics', 'scipy.stats', 'tokenizers'),
)


def serve():
    """Answers orders until stdin ends."""
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)  # what else is printed must not stand between the answers
    # JAX warns of forks; none of its threads is there before a device is asked for.
    warnings.filterwarnings('ignore', message='os.fork', category=RuntimeWarning)
    for name in IMPORTS:
        importlib.import_module(name)
    print(json.dumps({'ready': os.getpid()}), file=answers)
    for line in sys.stdin:
        order = json.loads(line)
        if 'start' in order:
            pid = os.fork()
            if not pid:
                answers.close()
                run(order['start'], order['log'], order['env'])
            answer = {'pid': pid}
        elif 'call' in order:
            answer = {'status': subprocess.run(order['call'], check=False).returncode}
        else:
            pid, status = os.waitpid(order['wait'], os.WNOHANG)
            answer = {'status': os.waitstatus_to_exitcode(status) if pid else None}
        print(json.dumps(answer), file=answers)


def run(command, log, env):
    """In the child: becomes a script, and ends with its exit code."""
    status = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
            os.dup2(source, number)
        os.environ.update(env)
        sys.argv = list(command)
        sys.path[0] = os.path.dirname(os.path.abspath(command[0]))
        runpy.run_path(command[0], run_name='__main__')
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


if __name__ == '__main__':
    serve()
