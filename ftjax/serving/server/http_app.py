"""The HTTP interface of a service: paths, their answers, OpenAPI.

FastAPI reads the annotations of the functions below, whose names are local: so they must not be
postponed here.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ftjax.errors import UserError
from ftjax.serving.server.api_page import api_page, example_of, openapi_of_predict
from ftjax.serving.server.guard import Guard, extra_headers
from ftjax.serving.server.refusal import Refusal
from ftjax.serving.server.request_inputs import asked_of
from ftjax.serving.server.service import Service
from ftjax.serving.server.web_page import page_headers, try_page


def guarded_app(service: Service) -> Guard:
    """An ASGI application that starts and closes the service with itself.

    Raises:
      UserError: the packages of the extra `serve` are not installed.
    """
    return Guard(_app(service), service.settings, service.metrics)


def _app(service: Service) -> Any:
    try:
        import orjson
        from fastapi import FastAPI, HTTPException, Request, Response
    except ImportError as error:
        raise UserError(
            f"a server needs the package {error.name}: pip install 'ftjax[serve]'"
        ) from None
    bundle, settings = service.bundle, service.settings
    example = example_of(bundle, service.goldens.raw, dict(service.goldens.inputs))
    page, headers = try_page()

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    def answer(value: Any, status: int = 200) -> Response:
        return Response(orjson.dumps(value), status, media_type='application/json')

    def id_of(request: Request) -> str:
        return request.scope['state']['request_id']

    app = FastAPI(
        title=service.name,
        version=bundle.digest[:12],
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
        return answer(refusal.body(id_of(request)), error.status_code)

    @app.post('/v1/predict', summary='Answers', openapi_extra=openapi_of_predict(example))
    async def predict(request: Request) -> Response:
        try:
            asked = await asked_of(request, bundle.signature.takes, settings)
            request.scope['state']['inputs'] = len(asked.inputs)
            rows = await service.answer(asked, id_of(request))
        except Refusal:
            if service.traffic is not None:
                service.traffic.note_refused()
            raise
        model = {'name': service.name, 'version': bundle.digest[:12]}
        return answer({'request_id': id_of(request), 'model': model, 'predictions': rows})

    @app.get('/v1/models', summary='What answers')
    async def models() -> Response:
        return answer({'models': [model_of(service)]})

    @app.get('/healthz', summary='Whether the process lives')
    async def healthz() -> Response:
        return answer({'status': 'alive'})

    @app.get('/readyz', summary='Whether all programs are compiled and the goldens are right')
    async def readyz() -> Response:
        if service.ready and not service.batcher.closed:
            return answer({'status': 'ready', 'programs': len(bundle.compiled)})
        return answer({'status': 'not ready', 'reason': service.failed or 'compiling'}, 503)

    @app.get('/metrics', summary='For Prometheus')
    async def metrics() -> Response:
        service.metrics.pending.set(service.batcher.pending)
        return Response(service.metrics.text(), media_type='text/plain; version=0.0.4')

    @app.get('/', include_in_schema=False)
    async def try_it() -> Response:
        return Response(page, media_type='text/html', headers=headers)

    @app.get('/docs', include_in_schema=False)
    async def docs(request: Request) -> Response:
        made = api_page(str(request.base_url), bundle, example, bool(settings.token))
        return Response(made, media_type='text/html', headers=page_headers())

    return app


def model_of(service: Service) -> dict[str, Any]:
    """What /v1/models says of the bundle."""
    bundle, signature = service.bundle, service.bundle.signature
    told = ('made', 'guarantee_ends', 'versions', 'network')
    return {
        'name': service.name,
        'version': bundle.digest[:12],
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
