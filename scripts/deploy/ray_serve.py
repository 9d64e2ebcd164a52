"""A bundle on Ray Serve: replicas of the server, on one machine or many, behind one address.

    pip install 'ftjax[serve,ray-serve]'
    python scripts/deploy/ray_serve.py --bundle=bundles/digits --replicas=2 --port=8000

Each replica is the application of scripts/serve.py, with its own batches, limits and checks; Ray
Serve sends each request to one of them. A replica takes requests once all is compiled and its
goldens were right. One that dies is started again; the requests that it had not answered get an
error, and their clients have to send them again. --max_replicas above --replicas adds replicas
while more than --target requests are on their way to each. /metrics, /readyz and /v1/models are of
the replica that answers. Only this machine reaches the address unless --host says otherwise. In a
cluster each machine needs this package and the bundle under the same path.
"""

import os
import pathlib
import signal
import threading
from typing import Any

from absl import flags

from ftjax.cli import launch

BUNDLE = flags.DEFINE_string('bundle', None, 'Folder of a bundle.', required=True)
HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on; 0.0.0.0 for all.')
PORT = flags.DEFINE_integer('port', 8000, 'Port to listen on.', 1, 65535)
REPLICAS = flags.DEFINE_integer('replicas', 2, 'Servers of the bundle.', 1)
MOST = flags.DEFINE_integer('max_replicas', 0, 'Up to which more are started under load; 0: none.')
TARGET = flags.DEFINE_float('target', 16.0, 'Requests on their way a replica, from which on.')
CPUS = flags.DEFINE_float('cpus', 1.0, 'Of a replica, for Ray to place it.')
GPUS = flags.DEFINE_float('gpus', 0.0, 'Of a replica: 0.5 where two share one.')


def application(folder: str, runners: int) -> Any:
    """What one replica runs: loaded, compiled and proved before it is returned.

    Args:
      folder: of the bundle.
      runners: batches at once, at most: as many as the replica has cores.
    """
    from ftjax import serving
    from ftjax.errors import UserError
    from ftjax.serving.server.http_app import guarded_app
    from ftjax.serving.server.serve_bundle import requests_as_they_are
    from ftjax.serving.server.server_settings import ServerSettings, read_token
    from ftjax.serving.server.service import Service

    requests_as_they_are()
    settings = ServerSettings(token=read_token(None), runners=runners)
    service = Service(serving.load(folder, goldens=False), settings)
    service.warm_up()
    if service.failed:
        raise UserError(service.failed)
    return guarded_app(service)


def deployment(folder: str) -> Any:
    """The application for `serve.run`."""
    from ray import serve

    runners = max(1, int(CPUS.value)) if not GPUS.value else 1  # replicas have no flags

    def build():
        return application(folder, runners)

    options: dict[str, Any] = {'num_replicas': REPLICAS.value}
    if MOST.value:
        options = {
            'autoscaling_config': {
                'min_replicas': REPLICAS.value,
                'max_replicas': MOST.value,
                'target_ongoing_requests': TARGET.value,
            }
        }
    names = ('FTJAX_TOKEN', 'FTJAX_CACHE', 'JAX_PLATFORMS', 'PYTHONPATH')
    given = {name: os.environ[name] for name in names if name in os.environ}
    return serve.deployment(
        name='bundle',
        max_ongoing_requests=512,
        graceful_shutdown_timeout_s=20,
        ray_actor_options={
            'num_cpus': CPUS.value,
            'num_gpus': GPUS.value,
            # Replicas may share a GPU: none takes all of its memory.
            'runtime_env': {'env_vars': {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', **given}},
        },
        **options,
    )(serve.ingress(build)()).bind()


def main():
    from ftjax.errors import UserError
    from ftjax.serving.bundle.manifest import check_manifest

    try:
        import ray
        from ray import serve
    except ImportError:
        raise UserError(
            "Ray Serve needs the package ray[serve]: pip install 'ftjax[ray-serve]'"
        ) from None
    if MOST.value and MOST.value < REPLICAS.value:
        raise UserError(f'max_replicas is {MOST.value}; expected {REPLICAS.value} or more, or 0')
    folder = pathlib.Path(BUNDLE.value).resolve()
    check_manifest(folder)
    ray.init(address=os.environ.get('RAY_ADDRESS'), include_dashboard=False)
    serve.start(http_options={'host': HOST.value, 'port': PORT.value})
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        serve.run(deployment(str(folder)), name='ftjax', route_prefix='/')
        print(f'http://{HOST.value}:{PORT.value} serves {folder} by Ray Serve', flush=True)
        ended.wait()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == '__main__':
    launch.run(main)
