"""What a server answers in place of a prediction: a status, a word for programs, a sentence."""

from __future__ import annotations

from ftjax.printable import printable

WORDS = {
    400: 'bad_request',
    401: 'unauthorized',
    404: 'not_found',
    405: 'method_not_allowed',
    408: 'too_slow',
    413: 'too_large',
    415: 'unsupported_media_type',
    422: 'invalid_input',
    429: 'too_many_requests',
    500: 'internal_error',
    503: 'not_ready',
    504: 'timeout',
}
GONE = 499
"""Status, in log and metrics alone, of a request whose client went away while it sent it."""


class ClientGone(Exception):
    """The client went away while it sent its request: nobody is left to answer."""


class Refusal(Exception):
    """A request that is not answered; it becomes a response of its status."""

    def __init__(self, status: int, message: str, input: int | None = None):
        super().__init__(message)
        self.status, self.message, self.input = status, message, input

    def body(self, request_id: str) -> dict[str, object]:
        """`{"error": {"code", "message", "request_id", "input"}}`."""
        told: dict[str, object] = {
            'code': WORDS.get(self.status, 'error'),
            'message': printable(self.message)[:1000],
            'request_id': request_id,
        }
        if self.input is not None:
            told['input'] = self.input
        return {'error': told}
