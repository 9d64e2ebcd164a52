"""A finished run, opened for export."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib

from ftjax.errors import UserError
from ftjax.export.model_card import CardFacts, model_card
from ftjax.export.origin import Origin, began_with, open_origin
from ftjax.io.json.json_reader import read_object
from ftjax.io.json.json_values import JsonObject
from ftjax.io.json.stored_fields import read_result
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.preprocessing.tokenizer import digest, tokenizer_file, tokenizer_json
from ftjax.pretrained.open import Pretrained, load_pretrained
from ftjax.pretrained.own_files import WEIGHTS
from ftjax.runs.own_code import check_code

FILES = ('config', 'plan', 'result')


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run's network and the files of its folder."""

    found: Pretrained
    config: JsonObject
    """config.json, as are the next two."""
    plan: JsonObject
    result: JsonObject
    command: str = ''
    """What was typed to export it."""
    place: str = 'FOLDER'
    """Where its users will open it from: a folder, or ORG/NAME of the hub."""
    load_report: JsonObject = dataclasses.field(default_factory=dict)
    """How its weights were loaded; {} where the folder does not say."""

    @property
    def init(self) -> str:
        """What it started from; '' for random weights."""
        return str(self.config.get('init') or '')

    @functools.cached_property
    def origin(self) -> Origin | None:
        """The checkpoint of another library that it goes back to, if there is one."""
        return open_origin(self.init)

    @property
    def is_text(self) -> bool:
        """Whether the network takes texts."""
        return not isinstance(self.found.preprocessing, Preprocessing)

    @property
    def tokenizer(self) -> pathlib.Path | None:
        """The tokenizer with most beside it: the original's, if the run's is no other one.

        A run that began with a run has the original where that one began.
        """
        own = self.found.preprocessing
        if not isinstance(own, TextPreprocessing):
            return self.found.tokenizer
        try:
            for _, checkpoint in began_with(self.init, weights=False):
                file = tokenizer_file(checkpoint.folder)
                alone = file is None or not (file.parent / 'tokenizer_config.json').exists()
                if checkpoint.is_own and alone:
                    continue  # what lay beside it is where that run began
                if file is not None and digest(tokenizer_json(file)) == own.sha256:
                    return file
        except UserError:
            pass  # moved since, or offline
        return self.found.tokenizer

    def card(
        self, model_class: str, usage: list[str], adapters: str = '', peft: bool = False
    ) -> str:
        """The README.md; `usage` are the lines of Python that open the folder."""
        processor = 'AutoTokenizer' if self.is_text else 'AutoImageProcessor'
        lines = [
            f'from transformers import {processor}, {model_class}',
            *usage,
            f"processor = {processor}.from_pretrained('{self.place}')",
        ]
        return model_card(
            CardFacts(
                model_class=model_class,
                config=self.config,
                plan=self.plan,
                result=self.result,
                takes=self.found.network.takes,
                library='peft' if peft else 'transformers',
                adapters=adapters,
                usage='\n'.join(lines),
                command=self.command,
            )
        )


def open_finished(
    workdir: str | os.PathLike[str],
    command: str = '',
    place: str = 'FOLDER',
    allow_code_change: bool = False,
) -> FinishedRun:
    """Opens the folder of a run.

    UserError where there is none, one that has not finished, or with other code than then.
    """
    files, report = finished_files(pathlib.Path(workdir)), pathlib.Path(workdir, 'load_report.json')
    loaded = read_object(report) if report.exists() else {}
    found = load_pretrained(str(workdir))
    check_code(pathlib.Path(workdir), found.network, allow_code_change)
    return FinishedRun(found, *files, command, place, loaded)


def finished_files(workdir: pathlib.Path) -> tuple[JsonObject, JsonObject, JsonObject]:
    """config.json, plan.json and result.json of a run; UserError for one that has not finished."""
    missing = [name for name in FILES if not (workdir / f'{name}.json').exists()]
    if len(missing) == len(FILES):
        raise UserError(f'{workdir} is no run folder; give the --workdir that training had')
    if missing and (workdir / WEIGHTS).exists():
        raise UserError(
            f'{workdir} holds weights, and no run: give the --workdir that training had (of a '
            'bundle --refresh --bundle=BUNDLE makes the programs anew)'
        )
    if missing:
        raise UserError(
            f'{workdir} is a run that has not finished: it has no {missing[0]}.json; run it '
            'again to continue it'
        )
    config, plan = (read_object(workdir / f'{name}.json') for name in FILES[:2])
    return config, plan, read_result(workdir / 'result.json')
