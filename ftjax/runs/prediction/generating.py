"""Texts that a run's network writes: prompts in, answers and how good they are out."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ftjax.config import read_saved_config
from ftjax.data import load_data
from ftjax.data.dataset import Dataset
from ftjax.data.labels.next_tokens import CONVERSATION
from ftjax.data.settings import DataSettings
from ftjax.data.sources.text_file import stream_lines
from ftjax.data.unlabelled.chunks import Failed
from ftjax.data.unlabelled.inputs import read_inputs
from ftjax.data.unlabelled.items import Found, Item, Unreadable
from ftjax.data.user_paths import existing_file
from ftjax.errors import UserError
from ftjax.evaluation.generation.generated_texts import continued, keys_of, no_room, prompt_ids
from ftjax.evaluation.generation.sampling import Sampling
from ftjax.evaluation.generation.text_match import generation_metrics
from ftjax.io.files.atomic import read_json
from ftjax.io.process.progress import Progress
from ftjax.models.adapters.adapted import merge
from ftjax.preprocessing.conversation import ASSISTANT, read_messages
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.runs.prediction.trained import Trained

SPLITS = ('train', 'val', 'test')
"""What stands for a file: a split of the run's own data."""


def refuse(one: Unreadable) -> None:
    """Raises UserError: no prompt may be left out."""
    raise UserError(f'{one.id} {one.reason}')


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What a text begins with, and how it should go on."""

    id: str
    text: str
    written: bool = False
    """Whether a chat template has written it, special tokens included."""
    reference: str | None = None
    """None where nothing is wanted."""
    group: str | None = None
    """What it belongs to, in a split with groups; None where examples are independent."""


def read_prompts(
    trained: Trained,
    source: str,
    failed: Failed = refuse,
    settings: DataSettings | None = None,
) -> list[Prompt]:
    """Prompts of a file, or of a split of the run's own data.

    Args:
      trained: the network.
      source: a .jsonl or .csv file with the columns `prompt` and, for references, `completion`; or
        with `messages`, of which a last one of the assistant is the reference; or with `text`. A
        .txt file with a prompt a line. Or `train`, `val` or `test`.
      failed: is told of each row that cannot be read, and is left out.
      settings: how a file is read; None for as the run read its own.

    Raises:
      UserError: no such file, or nothing in it to go on from.
    """
    if trained.settings.label_kind.head != 'lm' or not trained.settings.label_kind.causal:
        raise UserError(f'{trained.init}: a network of task {trained.task.name} writes no texts')
    groups: dict[str, str] = {}
    if source in SPLITS and not pathlib.Path(source).exists():
        if trained.run is None:
            raise UserError(f'{trained.init} is no run: its {source} split is not known')
        if settings is not None:
            raise UserError(
                f'--prompts={source} is a split of the run, which is read as the run read it; '
                '--data keys are for files'
            )
        config = read_saved_config(read_json(trained.run / 'config.json'))
        dataset = getattr(load_data(config.data), source)
        items: Iterable[Found] = _items(dataset)
        if len(dataset.groups):
            groups = dict(zip(map(str, dataset.ids), map(str, dataset.groups), strict=True))
    elif source.lower().endswith('.txt'):
        path = existing_file(source, '--prompts')
        lines = enumerate(stream_lines(path, (settings or trained.settings).encoding), 1)
        lines = ((number, line.rstrip('\r\n')) for number, line in lines)
        items = (Item(f'{path.name}:{number}', line) for number, line in lines if line.strip())
    else:
        existing_file(source, '--prompts')
        items = read_inputs(source, settings or trained.settings, texts=True)
    found = [
        dataclasses.replace(prompt, group=groups.get(prompt.id))
        for prompt in _prompts(trained, items, failed)
    ]
    if not found and failed is refuse:
        raise UserError(f'{source}: no prompt in it')
    return found


def _items(dataset: Dataset) -> Iterator[Found]:
    for value, label, name in zip(dataset.inputs, dataset.labels, dataset.ids, strict=True):
        yield Item(str(name), value if isinstance(value, str) else tuple(value), label=label)


def _prompts(trained: Trained, items: Iterable[Found], failed: Failed) -> Iterator[Prompt]:
    for item in items:
        if isinstance(item, Unreadable):
            failed(item)
            continue
        if item.label == CONVERSATION:
            try:
                yield _spoken(trained, item.id, item.value)
            except UserError as error:
                failed(Unreadable(item.id, str(error)))
            continue
        prompt, *rest = [item.value] if isinstance(item.value, str) else item.value
        yield Prompt(item.id, prompt, reference=rest[0] if rest else None)


def _spoken(trained: Trained, name: str, text: str) -> Prompt:
    template = getattr(trained.preprocessing, 'chat', None)
    if template is None:
        raise UserError(f'is a conversation, and {trained.init} has no chat template')
    messages, reference = read_messages(text, name), None
    if len(messages) > 1 and messages[-1]['role'] == ASSISTANT:
        *messages, last = messages
        reference = last['content']
    return Prompt(name, template.rendered(messages, name, answer=True), True, reference)


def answers_of(
    trained: Trained,
    prompts: Sequence[Prompt],
    failed: Failed = refuse,
    *,
    sampling: Sampling,
    new_tokens: int = 64,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> tuple[list[dict[str, Any]], dict[str, object]]:
    """(a row a prompt: `id`, `prompt`, `answer` and any `reference`; metrics, {} without these).

    Adapters are merged first where that can be: the texts are the same, and written sooner. What is
    drawn follows from the seed and the number of the prompt, those that are left out counted.

    Args:
      trained, prompts: the network, and what it goes on from.
      failed: is told of each prompt that is left out: it has no token, or leaves no room.
      sampling, new_tokens, batch_size, seed: as of `generated`.
      progress: whether it is shown.

    Raises:
      UserError: no decoder.
    """
    preprocessing = trained.preprocessing
    if not isinstance(preprocessing, TextPreprocessing):
        raise UserError(f'{trained.init} came without a tokenizer: it writes no texts')
    try:
        network, variables = merge(trained.network, trained.variables)
    except UserError:
        network, variables = trained.network, trained.variables
    ids: dict[int, list[int]] = {}
    for kind in (False, True):
        places = [place for place, prompt in enumerate(prompts) if prompt.written == kind]
        texts = [prompts[place].text for place in places]
        found = prompt_ids(network, texts, preprocessing, new_tokens, kind)
        ids |= dict(zip(places, found, strict=True))
    for place, prompt in enumerate(prompts):
        reason = no_room(network, ids[place], new_tokens)
        if reason:
            failed(Unreadable(prompt.id, reason))
            del ids[place]
    kept = sorted(ids)
    keys = keys_of(seed, len(prompts))[np.array(kept, int)]
    with Progress(max(1, len(kept)), 'generate', unit='prompts', enabled=progress) as bar:
        answers = continued(
            *(network, variables, [ids[place] for place in kept], keys, preprocessing),
            new_tokens=new_tokens,
            sampling=sampling,
            batch_size=batch_size,
            report=bar.update,
        )
    rows, pairs, groups = [], [], []
    for place, answer in zip(kept, answers, strict=True):
        prompt = prompts[place]
        row = {'id': prompt.id, 'prompt': prompt.text, 'answer': answer}
        if prompt.reference is not None:
            row['reference'] = prompt.reference
            pairs.append((answer, prompt.reference))
            groups += [] if prompt.group is None else [prompt.group]
        rows.append(row)
    metrics = generation_metrics(*zip(*pairs, strict=True), groups=groups) if pairs else {}
    return rows, metrics
