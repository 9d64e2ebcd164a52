"""Texts that a run's network writes: prompts in, answers and how good they are out."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from ftjax.config import read_config
from ftjax.data import DataSettings, load_data
from ftjax.data.dataset import Dataset
from ftjax.data.labels.next_tokens import CONVERSATION, NextTokens
from ftjax.data.load import load_test
from ftjax.data.user_paths import existing_file
from ftjax.errors import UserError
from ftjax.evaluation.generation.generated_texts import generated
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


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What a text begins with, and how it should go on."""

    id: str
    text: str
    written: bool = False
    """Whether a chat template has written it, special tokens included."""
    reference: str | None = None
    """None where nothing is wanted."""


def read_prompts(trained: Trained, source: str) -> list[Prompt]:
    """Prompts of a file, or of a split of the run's own data.

    Args:
      trained: the network.
      source: a .jsonl or .csv file with the columns `prompt` and, for references, `completion`; or
        with `messages`, of which a last one of the assistant is the reference; or with `text`. A
        .txt file with a prompt a line. Or `train`, `val` or `test`.

    Raises:
      UserError: no such file, or nothing in it to go on from.
    """
    if source in SPLITS and not pathlib.Path(source).exists():
        if trained.run is None:
            raise UserError(f'{trained.init} is no run: its {source} split is not known')
        config = read_config(read_json(trained.run / 'config.json'))
        return list(_of_dataset(trained, getattr(load_data(config.data), source)))
    path = existing_file(source, '--prompts')
    if path.suffix.lower() == '.txt':
        lines = path.read_text(encoding='utf-8').splitlines()
        found = [Prompt(f'{path.name}:{n}', line) for n, line in enumerate(lines, 1) if line]
    else:
        reader = 'csv' if path.suffix.lower() in ('.csv', '.tsv') else 'jsonl'
        own = trained.settings
        settings = DataSettings(
            source=f'{reader}:{path}',
            task=own.task,
            text_column=own.text_column,
            text_pair_column=own.text_pair_column,
        )
        found = list(_of_dataset(trained, load_test(settings)))
    if not found:
        raise UserError(f'{path}: no prompt in it')
    return found


def _of_dataset(trained: Trained, dataset: Dataset) -> Iterator[Prompt]:
    if not isinstance(dataset.label_kind, NextTokens):
        raise UserError(f'{trained.init}: a network of task {dataset.task} writes no texts')
    for given, label, name in zip(dataset.inputs, dataset.labels, dataset.ids, strict=True):
        if dataset.inputs.ndim == 2:
            yield Prompt(name, given[0], reference=given[1])
        elif label == CONVERSATION:
            yield _spoken(trained, str(name), given)
        else:
            yield Prompt(name, given)


def _spoken(trained: Trained, name: str, text: str) -> Prompt:
    template = getattr(trained.preprocessing, 'chat', None)
    if template is None:
        raise UserError(f'{name} is a conversation, and {trained.init} has no chat template')
    messages, reference = read_messages(text, name), None
    if messages[-1]['role'] == ASSISTANT:
        *messages, last = messages
        reference = last['content']
    return Prompt(name, template.rendered(messages, name, answer=True), True, reference)


def answers_of(
    trained: Trained,
    prompts: Sequence[Prompt],
    *,
    sampling: Sampling,
    new_tokens: int = 64,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> tuple[list[dict[str, Any]], dict[str, object]]:
    """(a row a prompt: `id`, `prompt`, `answer` and any `reference`; metrics, {} without these).

    Adapters are merged first where that can be: the texts are the same, and written sooner.

    Raises:
      UserError: as `generated` does.
    """
    preprocessing = trained.preprocessing
    if not isinstance(preprocessing, TextPreprocessing):
        raise UserError(f'{trained.init} came without a tokenizer: it writes no texts')
    try:
        network, variables = merge(trained.network, trained.variables)
    except UserError:
        network, variables = trained.network, trained.variables
    written = {prompt.written for prompt in prompts}
    answers = [''] * len(prompts)
    with Progress(len(prompts), 'generate', unit='prompts', enabled=progress) as shown:
        before = 0
        for kind in sorted(written):
            places = [place for place, prompt in enumerate(prompts) if prompt.written == kind]
            texts = generated(
                *(network, variables, [prompts[place].text for place in places], preprocessing),
                new_tokens=new_tokens,
                sampling=sampling,
                batch_size=batch_size,
                seed=seed,
                written=kind,
                report=lambda done, before=before: shown.update(before + done),
            )
            before += len(places)
            for place, text in zip(places, texts, strict=True):
                answers[place] = text
    rows, pairs = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        row = {'id': prompt.id, 'prompt': prompt.text, 'answer': answer}
        if prompt.reference is not None:
            row['reference'] = prompt.reference
            pairs.append((answer, prompt.reference))
        rows.append(row)
    metrics = generation_metrics(*zip(*pairs, strict=True)) if pairs else {}
    return rows, metrics
