"""Serves a bundle over HTTP: predictions, health, metrics, and a page to try it by hand.

    python scripts/export.py --workdir=runs/digits --format=bundle --output=bundles/digits
    python scripts/serve.py --bundle=bundles/digits --port=8000
    curl -s http://127.0.0.1:8000/v1/predict -F image=@digit.png

http://127.0.0.1:8000/ takes an image or a text; /docs has the API with an example; /readyz is 200
once every program is compiled and the golden outputs are right. Requests are put together to
batches: the first waits --latency_ms for others. Sizes of --batch_sizes are measured at the start,
and used where a batch takes less time than its examples one by one; on a CPU as many run at once as
there are cores. SIGTERM answers what was accepted, then ends with 0.

A version of a registry (scripts/registry.py) is served by its name, and followed: what is promoted
is compiled and proved beside the version that answers, and takes its place without a lost request.

    python scripts/serve.py --model=digits@production --registry=versions

With --monitor=DIR it keeps sketches of the traffic in a folder, a file for each window of time:
counts, sums, histograms and a sample of 512 feature vectors, never an input. scripts/monitor.py
compares them with the bundle's reference. --keep_inputs=0.01 also keeps that share of the inputs,
in DIR/inputs, which only the owner of the server can read.

Only this machine reaches it unless --host says otherwise. A bearer token is read from
--token_file or $FTJAX_TOKEN. It needs the packages of `pip install 'ftjax[serve]'`. Where several
servers share a GPU, set XLA_PYTHON_CLIENT_PREALLOCATE=false.
"""

import os

from absl import flags

from ftjax.cli import launch

BUNDLE = flags.DEFINE_string('bundle', None, 'Folder of a bundle.')
MODEL = flags.DEFINE_string('model', None, 'A version instead: NAME@production, NAME@3, ..')
REGISTRY = flags.DEFINE_string('registry', None, 'Of --model: folder or URL; else $FTJAX_REGISTRY.')
POLL = flags.DEFINE_float('poll_seconds', 5.0, 'Between looks for what was promoted.')
SHA256 = flags.DEFINE_string('sha256', None, 'Of its bundle.json, to be sure which one it is.')
HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on; 0.0.0.0 for all.')
PORT = flags.DEFINE_integer('port', 8000, 'Port to listen on.')
SIZES = flags.DEFINE_list('batch_sizes', ['1', '8', '32'], 'Examples a batch, ascending.')
RUNNERS = flags.DEFINE_integer('runners', 0, 'Batches at once; 0: one a core, 1 on a GPU or TPU.')
LATENCY = flags.DEFINE_float('latency_ms', 2.0, 'What the first of a batch waits for others.')
QUEUE = flags.DEFINE_integer('queue', 512, 'Examples on their way; more get 429.')
TIMEOUT = flags.DEFINE_float('timeout', 10.0, 'Seconds a request.')
MAX_BYTES = flags.DEFINE_integer('max_bytes', 8 * 2**20, 'Of a request.')
MAX_INPUTS = flags.DEFINE_integer('max_inputs', 64, 'Of a request.')
TOKEN_FILE = flags.DEFINE_string('token_file', None, 'File with the token that clients send.')
MONITOR = flags.DEFINE_string('monitor', None, 'Folder for sketches of the traffic.')
WINDOW = flags.DEFINE_float('window_hours', 168.0, 'Length of a window of the sketches.')
KEEP = flags.DEFINE_float('keep_inputs', 0.0, 'Share of the inputs to keep as files.', 0, 1)


def main():
    from ftjax.errors import UserError
    from ftjax.serving.server.serve_bundle import monitor_in, serve, serve_version
    from ftjax.serving.server.server_settings import ServerSettings, read_token

    if (BUNDLE.value is None) == (MODEL.value is None):
        raise UserError('expected either --bundle=FOLDER or --model=NAME@VERSION')
    url = REGISTRY.value or os.environ.get('FTJAX_REGISTRY', '')
    if MODEL.value is not None and (not url or SHA256.value):
        raise UserError('--model needs --registry=URL, or $FTJAX_REGISTRY, and takes no --sha256')
    try:
        sizes = tuple(int(size) for size in SIZES.value)
    except ValueError:
        raise UserError(f'--batch_sizes={",".join(SIZES.value)}: expected numbers') from None
    settings = ServerSettings(
        host=HOST.value,
        port=PORT.value,
        batch_sizes=sizes,
        runners=RUNNERS.value,
        latency_ms=LATENCY.value,
        queue=QUEUE.value,
        timeout=TIMEOUT.value,
        max_bytes=MAX_BYTES.value,
        max_inputs=MAX_INPUTS.value,
        token=read_token(TOKEN_FILE.value),
    )
    monitor = monitor_in(MONITOR.value, WINDOW.value, KEEP.value)
    if MODEL.value is not None:
        serve_version(url, MODEL.value, settings, POLL.value, monitor)
    else:
        serve(BUNDLE.value or '', settings, SHA256.value, monitor=monitor)


if __name__ == '__main__':
    launch.run(main)
