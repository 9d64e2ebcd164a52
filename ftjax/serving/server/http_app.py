"""The HTTP interface of a service: paths, their answers, OpenAPI.

FastAPI reads the annotations of the functions below, whose names are local: so they must not be
postponed here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ftjax.errors import UserError
from ftjax.serving.server.api_page import api_page, example_of, openapi_of_predict
from ftjax.serving.server.follower import Follower
from ftjax.serving.server.guard import Guard, extra_headers
from ftjax.serving.server.live_service import LiveService
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.request_inputs import asked_of
from ftjax.serving.server.service import Service
from ftjax.serving.server.web_page import page_headers, try_page

PREDICT = ('POST', '/v1/predict')


def guarded_app(service: Service, follower: Follower | None = None) -> Guard:
    """An ASGI application that starts and closes the service with itself.

    Args:
      service: that answers first.
      follower: puts others in its place; None where nothing is followed.

    Raises:
      UserError: the packages of the extra `serve` are not installed.
    """
    return Guard(_app(LiveService(service), follower), service.settings, service.metrics)


def _app(live: LiveService, follower: Follower | None) -> Any:
    try:
        import orjson
        from fastapi import FastAPI, Request, Response
        from fastapi.exceptions import StarletteHTTPException as HTTPException
    except ImportError as error:
        raise UserError(
            f"a server needs the package {error.name}: pip install 'ftjax[serve]'"
        ) from None
    settings, metrics_of_all = live.service.settings, live.service.metrics
    page, headers = try_page()

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        live.service.start()
        following = None if follower is None else asyncio.create_task(follower.run(live))
        yield
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
        await live.service.close()

    def example() -> Any:
        goldens = live.service.goldens
        return example_of(live.service.bundle, goldens.raw, dict(goldens.inputs))

    def answer(value: Any, status: int = 200) -> Response:
        return Response(orjson.dumps(value), status, media_type='application/json')

    def id_of(request: Request) -> str:
        return request.scope['state']['request_id']

    app = FastAPI(
        title=live.service.name,
        version=live.service.version,
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from another host
        redoc_url=None,
    )

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        made = answer(refusal.body(id_of(request)), refusal.status)
        for name, value in extra_headers(refusal):
            made.headers[name.decode()] = value.decode()
        return made

    @app.exception_handler(404)
    @app.exception_handler(405)
    @app.exception_handler(400)
    async def not_there(request: Request, error: HTTPException) -> Response:
        refusal = Refusal(error.status_code, str(error.detail))
        made = answer(refusal.body(id_of(request)), error.status_code)
        made.headers.update(error.headers or {})  # which methods there are, of a 405
        return made

    @app.post('/v1/predict', summary='Answers', openapi_extra=openapi_of_predict(example()))
    async def predict(request: Request) -> Response:
        with live.using() as service:
            try:
                asked = await asked_of(request, service.bundle.signature.takes, settings)
                request.scope['state']['inputs'] = len(asked.inputs)
                rows = await service.answer(asked, id_of(request), request.scope['state']['began'])
            except Refusal:
                if service.traffic is not None:
                    service.traffic.note_refused()
                raise
        model = {'name': service.name, 'version': service.version}
        made = answer({'request_id': id_of(request), 'model': model, 'predictions': rows})
        made.headers['x-model-version'] = f'{service.name}@{service.version}'
        return made

    @app.get('/v1/models', summary='What answers')
    async def models() -> Response:
        own = model_of(live.service)
        others = [] if follower is None else follower.told
        stages = [row['stages'] for row in others if row['version'] == own['version']]
        found = [{**own, 'live': True, 'stages': stages[0] if stages else []}]
        found += [{**row, 'live': False} for row in others if row['version'] != own['version']]
        return answer({'models': found})

    @app.get('/healthz', summary='Whether the process lives')
    async def healthz() -> Response:
        return answer({'status': 'alive'})

    @app.get('/readyz', summary='Whether all programs are compiled and the goldens are right')
    async def readyz() -> Response:
        service = live.service
        if service.ready and not service.batcher.closed:
            return answer({'status': 'ready', 'programs': len(service.bundle.compiled)})
        return answer({'status': 'not ready', 'reason': service.failed or 'compiling'}, 503)

    @app.get('/metrics', summary='For Prometheus')
    async def metrics() -> Response:
        metrics_of_all.pending.set(live.service.batcher.pending)
        metrics_of_all.ready.set(live.service.ready)
        return Response(metrics_of_all.text(), media_type='text/plain; version=0.0.4')

    @app.get('/', include_in_schema=False)
    async def try_it() -> Response:
        return Response(page, media_type='text/html', headers=headers)

    @app.get('/docs', include_in_schema=False)
    async def docs(request: Request) -> Response:
        shown = str(request.base_url), live.service.bundle, example(), bool(settings.token)
        made = api_page(*shown)
        return Response(made, media_type='text/html', headers=page_headers())

    described = app.openapi

    def openapi() -> dict[str, Any]:
        """As FastAPI makes it, with the example as it is: FastAPI leaves out what is null."""
        made = described()
        bodies = made['paths'][PREDICT[1]]['post']['requestBody']['content']
        bodies['application/json']['example'] = example()
        return made

    app.openapi = openapi

    async def straight(scope: Any, receive: Any, send: Any) -> None:
        """The path that all traffic takes, without the layers that FastAPI puts around a path.

        They are more than half of what a request costs this process.
        """
        if scope['type'] != 'http' or (scope['method'], scope['path']) != PREDICT:
            if scope.get('method') == 'HEAD':  # as GET, without what is sent: balancers ask so
                scope, send = {**scope, 'method': 'GET'}, _heads_of(send)
            await app(scope, receive, send)
            return
        request = Request({**scope, 'app': app}, receive)
        try:
            made = await predict(request)
        except Refusal as refusal:
            made = await refused(request, refusal)
        except HTTPException as error:
            made = await not_there(request, error)
        await made(scope, receive, send)

    return straight


def _heads_of(send: Any) -> Any:
    """Sends a response without its body."""

    async def sending(message: Any) -> None:
        await send({**message, 'body': b''} if 'body' in message else message)

    return sending


def model_of(service: Service) -> dict[str, Any]:
    """What /v1/models says of the bundle."""
    bundle, signature = service.bundle, service.bundle.signature
    told = ('made', 'guarantee_ends', 'versions', 'network')
    return {
        'name': service.name,
        'version': service.version,
        'sha256': bundle.digest,
        'ready': service.ready,
        **{key: bundle.manifest.get(key) for key in told},
        'task': signature.task,
        'takes': signature.takes,
        'class_names': signature.class_names,
        'lengths': signature.lengths,
        'batch_sizes': service.settings.batch_sizes,
        'preprocessing': signature.preprocessing,
        'answer': signature.answer,
        'lines': bundle.form.lines,
        'details': signature.details,
    }
