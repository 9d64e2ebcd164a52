"""A conversation: messages with a role and a content each, and the JSON text that holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError, shown
from ftjax.io.json.json_reader import LENIENT, parse_json

ASSISTANT = 'assistant'
"""The role whose messages are to be learned."""
Messages = list[dict[str, Any]]


def written(messages: Sequence[Any], where: str) -> str:
    """Messages as JSON text, checked.

    Raises:
      UserError: naming `where`, if a message has no role or no content that is a text.

    >>> written([{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Yes'}], 'x')
    '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]'
    """
    check_messages(messages, where)
    return json.dumps(list(messages), ensure_ascii=False)


def check_messages(messages: Sequence[Any], where: str) -> None:
    """UserError unless each message is an object with texts as `role` and `content`."""
    expected = 'expected {"role": "user", "content": ".."}'
    if not messages:
        raise UserError(f'{where}: no messages; {expected}')
    for number, message in enumerate(messages, start=1):
        fields = message if isinstance(message, Mapping) else {}
        if not all(isinstance(fields.get(name), str) for name in ('role', 'content')):
            raise UserError(f'{where}: message {number} is {shown(message)}; {expected}')


def check_answered(messages: Messages, where: str) -> None:
    """UserError unless one of the messages is an assistant's: what is learned."""
    if all(message['role'] != ASSISTANT for message in messages):
        raise UserError(f'{where}: no message of role {ASSISTANT!r}: there is nothing to learn')


def read_messages(text: str, where: str) -> Messages:
    """The messages in a JSON text; the inverse of `written`."""
    messages = parse_json(text, where, LENIENT)
    if not isinstance(messages, list):
        raise UserError(f'{where}: is no list of messages')
    check_messages(messages, where)
    return messages
