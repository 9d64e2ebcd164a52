"""Load on a server of a bundle, on this machine alone: with and without batching, beside bare JAX.

    python scripts/benchmarks/serving_load.py --bundle=bundles/digits --output=load.json

Three sides are measured in turn, several rounds each: the compiled program called directly (one
example a call, and the largest batch), a server that runs one example a call, and one that puts
requests together. A number of clients send golden inputs one after the other over connections that
they keep; each answer is compared with the bundle's. Ratios are of the same run. Clients and server
share the processors, so that throughput here is below that of clients elsewhere; nothing else
should run on the machine. It is bounded: --seconds times --rounds for each side.
"""

import http.client
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
from absl import flags

from ftjax.cli import launch

BUNDLE = flags.DEFINE_string('bundle', None, 'Folder of a bundle.', required=True)
SECONDS = flags.DEFINE_float('seconds', 5.0, 'Of load, a side and round.', lower_bound=0.5)
ROUNDS = flags.DEFINE_integer('rounds', 3, 'Times that each side has its turn.', 1, 20)
CLIENTS = flags.DEFINE_integer('clients', 16, 'At once.', 1, 64)
LARGEST = flags.DEFINE_integer('batch_size', 32, 'Largest batch of the server.', 1, 1024)
OUTPUT = flags.DEFINE_string('output', None, 'JSON file for what was measured.')


def main():
    from ftjax import serving
    from ftjax.io.files.atomic import write_json
    from ftjax.io.process.provenance import provenance
    from ftjax.serving.bundle.answer_rows import answer_rows
    from ftjax.serving.bundle.goldens import read_goldens

    bundle = serving.load(BUNDLE.value)
    goldens = read_goldens(bundle.folder)
    bodies = bodies_of(goldens)
    expected = [row['predicted'] for row in answer_rows(goldens.outputs, bundle.signature)]
    servers = {
        'server, one a call': Server('--batch_sizes=1', '--latency_ms=0'),
        'server, batches': Server(f'--batch_sizes=1,8,{LARGEST.value}'),
    }
    sides = {
        'program, one a call': lambda: direct(bundle, goldens, 1),
        f'program, {LARGEST.value} a call': lambda: direct(bundle, goldens, LARGEST.value),
        **{name: lambda s=server: load(s, bodies, expected) for name, server in servers.items()},
    }
    found = {name: [] for name in sides}
    try:
        for server in servers.values():
            server.wait()
        for _ in range(ROUNDS.value):
            for name, side in sides.items():
                found[name].append(side())
    finally:
        for server in servers.values():
            server.stop()
    told = {name: summary(rounds) for name, rounds in found.items()}
    print_table(told)
    if OUTPUT.value:
        settings = {'seconds': SECONDS.value, 'rounds': ROUNDS.value, 'clients': CLIENTS.value}
        write_json(OUTPUT.value, {'sides': told, 'settings': settings, **provenance()})


def bodies_of(goldens):
    """Requests of one golden each."""
    raw = list(goldens.raw)
    if not raw:
        raw = [{'pixels': image.tolist()} for image in goldens.inputs['images']]
    return [json.dumps({'inputs': [one]}).encode() for one in raw]


def direct(bundle, goldens, size):
    """(seconds a call, examples, wrong answers, seconds in all) of the program itself."""
    rows = np.arange(size) % len(goldens.outputs)
    inputs = {name: array[rows] for name, array in goldens.inputs.items()}
    bundle.run(inputs)
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < SECONDS.value:
        before = time.perf_counter()
        bundle.run(inputs)
        times.append(time.perf_counter() - before)
    return times, size * len(times), 0, time.perf_counter() - began


def load(server, bodies, expected):
    """The same, of a server under the load of all clients."""
    times, wrong, lock = [], [], threading.Lock()
    until = time.perf_counter() + SECONDS.value

    def client(at):
        connection = http.client.HTTPConnection('127.0.0.1', server.port, timeout=30)
        own, bad = [], 0
        while time.perf_counter() < until:
            at = (at + 1) % len(bodies)
            before = time.perf_counter()
            connection.request(
                'POST', '/v1/predict', bodies[at], {'Content-Type': 'application/json'}
            )
            answer = connection.getresponse()
            body = json.loads(answer.read())
            own.append(time.perf_counter() - before)
            bad += answer.status != 200 or body['predictions'][0]['predicted'] != expected[at]
        connection.close()
        with lock:
            times.extend(own)
            wrong.append(bad)

    began = time.perf_counter()
    clients = [threading.Thread(target=client, args=(at,)) for at in range(CLIENTS.value)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    return times, len(times), sum(wrong), time.perf_counter() - began


def summary(rounds):
    """Throughput (median of rounds) and percentiles over all calls, in ms."""
    times = np.concatenate([times for times, *_ in rounds])
    low, middle, high = 1000 * np.percentile(times, [50, 95, 99])
    return {
        'examples_per_second': float(np.median([count / s for _, count, _, s in rounds])),
        'p50_ms': low,
        'p95_ms': middle,
        'p99_ms': high,
        'calls': len(times),
        'wrong': int(sum(wrong for _, _, wrong, _ in rounds)),
    }


def print_table(told):
    """A row a side, with the ratio of its throughput to the first."""
    first = next(iter(told.values()))['examples_per_second']
    heads = ' '.join(f'{name:>8}' for name in ('p50 ms', 'p95 ms', 'p99 ms'))
    print(f'{"":<22} {"examples/s":>11} {"ratio":>6} {heads} wrong')
    for name, row in told.items():
        rate = row['examples_per_second']
        cells = ' '.join(f'{row[key]:8.2f}' for key in ('p50_ms', 'p95_ms', 'p99_ms'))
        print(f'{name:<22} {rate:11.1f} {rate / first:6.2f} {cells} {row["wrong"]:5d}')


class Server:
    """scripts/serve.py on a free port of the loopback."""

    def __init__(self, *more):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        script = str(pathlib.Path(__file__).resolve().parents[1] / 'serve.py')
        command = [sys.executable, script, f'--bundle={BUNDLE.value}', f'--port={self.port}']
        self.process = subprocess.Popen([*command, *more], stderr=subprocess.DEVNULL)

    def wait(self):
        """Until it is ready; UserError if it ends before."""
        from ftjax.errors import UserError

        until = time.monotonic() + 300
        while time.monotonic() < until and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=5)
                connection.request('GET', '/readyz')
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise UserError(f'scripts/serve.py --bundle={BUNDLE.value} did not become ready')

    def stop(self):
        """By SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


if __name__ == '__main__':
    launch.run(main)
