"""A checkpoint's chat template: from messages to one text, and where in it the assistant speaks.

The template is text in Jinja's language, which comes with the checkpoint. jinja2 renders it in its
`ImmutableSandboxedEnvironment`: it reads the messages, and nothing of Python or of the machine.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.io.files.regular_files import read_bytes
from ftjax.preprocessing.conversation import ASSISTANT, Messages

FILE = 'chat_template.jinja'
LONGEST = 2**18
"""Characters of a template, and of what an operator in it may make of texts."""
_NOT_GIVEN = {'tools': None, 'documents': None}
"""As transformers says that there are none: templates ask whether they are none, or defined."""
_NAMED = ('bos_token', 'eos_token', 'unk_token', 'pad_token')


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """A template and the special tokens that it may write, (name, token) each."""

    text: str
    tokens: tuple[tuple[str, str], ...] = ()

    def rendered(self, messages: Messages, where: str, answer: bool = False) -> str:
        """The messages as one text; with `answer` up to where the assistant's answer begins.

        Raises:
          UserError: the template is broken, refuses the messages, or does what it may not.
        """
        # jinja2 takes a while to import, and few networks come with a template.
        from ftjax.preprocessing.template_sandbox import render

        given = {'messages': messages, 'add_generation_prompt': answer, **_NOT_GIVEN}
        given |= dict(self.tokens)
        try:
            return render(self.text, given, sum(len(str(message)) for message in messages))
        except UserError as error:
            raise UserError(f'{where}: the chat template refuses it: {error}') from None
        except Exception as error:  # a template is a program: it fails in as many ways
            said = ' '.join(str(error).split())[:300] or type(error).__name__
            raise UserError(f'{where}: the chat template fails: {said}') from error

    def spans(self, messages: Messages, where: str) -> tuple[str, list[tuple[int, int]]]:
        """(the rendered text, where in it each message of the assistant begins and ends).

        A span holds the message and what ends it (`<|im_end|>`), not the white space after that. It
        begins where the text with a generation prompt ends, so that what is learned follows what
        the network is given when it answers; that of a first message begins with its words.

        Raises:
          UserError: the template writes a conversation otherwise once more follows.
        """
        text, found = self.rendered(messages, where), []
        for number, message in enumerate(messages):
            if message['role'] != ASSISTANT:
                continue
            upto = self.rendered(messages[: number + 1], where).rstrip()
            if number:
                before = self.rendered(messages[:number], where, answer=True)
            else:  # no template writes nothing: what stands before the words is the template's
                before = upto[: max(0, upto.rfind(message['content'].strip()))]
            if not text.startswith(upto) or not upto.startswith(before):
                raise UserError(
                    f'{where}: the chat template writes message {number + 1} in another way than '
                    'before an answer, so that it is not known which tokens are the answer'
                )
            found.append((len(before), len(upto)))
        return text, found


def read_chat_template(folder: pathlib.Path, config: Mapping[str, Any]) -> ChatTemplate | None:
    """That of a checkpoint's folder: chat_template.jinja, or what tokenizer_config.json holds.

    Args:
      folder: of the checkpoint.
      config: tokenizer_config.json.

    Raises:
      UserError: the file cannot be read, or is too long.
    """
    text = config.get('chat_template')
    if isinstance(text, list):  # several by name
        named = {each.get('name'): each.get('template') for each in text if isinstance(each, dict)}
        text = named.get('default')
    if (folder / FILE).is_file():
        try:
            text = read_bytes(folder / FILE, LONGEST).decode('utf-8')
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f'{folder / FILE} cannot be read: {error}') from error
    if not isinstance(text, str):
        return None
    if len(text) > LONGEST:
        raise UserError(f'{folder}: its chat template has {len(text):,} characters')
    tokens = []
    for name in _NAMED:
        token = config.get(name)
        token = token.get('content') if isinstance(token, dict) else token
        tokens += [(name, token)] if isinstance(token, str) else []
    return ChatTemplate(text, tuple(tokens))
