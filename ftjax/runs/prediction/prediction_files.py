"""Predictions and embeddings of new inputs, written to files as they are made."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from ftjax.data.unlabelled.inputs import count_inputs
from ftjax.data.unlabelled.items import Unreadable
from ftjax.data.user_paths import resolve_path
from ftjax.errors import UserError
from ftjax.io.files.npz_rows import npz_rows
from ftjax.io.files.row_files import check_kind, row_file
from ftjax.io.process.progress import Progress
from ftjax.printable import printable
from ftjax.runs.prediction.new_inputs import Outputs, outputs_of_source
from ftjax.runs.prediction.trained import Trained
from ftjax.tasks.answers import AnswerOptions

NAMED = 20
"""Inputs that could not be read and are named on the screen; the file names them all."""


@dataclasses.dataclass(frozen=True)
class Written:
    """What became of the inputs."""

    rows: int
    failed: int
    first: tuple[Unreadable, ...] = ()
    """The first of those that could not be read."""
    errors: pathlib.Path | None = None
    """The file that names all of them."""
    cut: int = 0
    """Texts that lost their end."""
    longest: int = 0
    """Tokens that were kept of these."""

    def warnings(self, what: str = 'input') -> list[str]:
        """Lines for people, of inputs or of whatever else they are; none where all were read."""
        said = []
        if self.cut:
            said.append(
                f'{self.cut:,} of {self.rows:,} texts are longer than {self.longest} tokens: the '
                "network did not see their end (data.max_length of its run, or the checkpoint's)"
            )
        return [*said, *self._left_out(what)]

    def _left_out(self, what: str) -> list[str]:
        if not self.failed:
            return []
        lines = [f'{printable(each.id)}: {printable(each.reason)}' for each in self.first]
        inputs = what if self.failed == 1 else f'{what}s'
        more = f'; the first {NAMED} are named above' if self.failed > NAMED else ''
        file = '' if self.errors is None else f', named in {self.errors}'
        return [*lines, f'{self.failed:,} {inputs} left out{file}{more}']


class Failures:
    """Writes down what could not be read, in a file that is there only if it is needed.

    Without a path nothing is written: only the first ones are kept.
    """

    def __init__(self, path: pathlib.Path | None):
        self.path, self.count, self.first = path, 0, []
        self._stack = contextlib.ExitStack()
        self._write = None

    def __call__(self, one: Unreadable) -> None:
        if self._write is None and self.path is not None:
            self._write = self._stack.enter_context(row_file(self.path))
        if self._write is not None:
            self._write({'id': one.id, 'reason': one.reason})
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(one)

    def __enter__(self):
        return self

    def __exit__(self, *error: Any) -> bool | None:
        if not self.count and error[0] is None and self.path is not None:
            self.path.unlink(missing_ok=True)  # of an earlier time
        return self._stack.__exit__(*error)


def write_predictions(
    trained: Trained,
    source: str,
    output: pathlib.Path,
    options: AnswerOptions,
    progress: bool = True,
    **how: Any,
) -> Written:
    """Writes a row an input to a .csv or .jsonl file; see `outputs_of_source` for `how`.

    Raises:
      UserError: nothing could be read; the file cannot be written, or is the input itself.
    """
    check_kind(output)
    with failures(source, output) as failed, row_file(output) as write:
        rows, cut, longest = 0, 0, 0
        for part in shown(outputs_of_source(trained, source, failed, **how), source, progress):
            for row in part.rows(trained, options):
                write(row)
            rows, cut, longest = rows + len(part.ids), cut + part.cut, part.longest
        return written(rows, failed, source, cut, longest)


def write_features(
    trained: Trained,
    source: str,
    output: pathlib.Path,
    stage: str | None,
    progress: bool = True,
    **how: Any,
) -> Written:
    """Writes the embedding of a stage of each input to an .npz file: `ids` and `features`.

    Of a network whose answers are vectors these are written, where no stage is named.
    """
    if stage is None and trained.network.head_kind != 'vector':
        raise UserError(f'{output}: answers are written to .csv or .jsonl; name --features=STAGE')
    if output.suffix.lower() != '.npz':
        raise UserError(f'{output}: embeddings are written to an .npz file')
    with failures(source, output) as failed, npz_rows(output, 'features') as write:
        rows, cut, longest = 0, 0, 0
        parts = outputs_of_source(trained, source, failed, stage=stage, **how)
        for part in shown(parts, source, progress):
            write(part.ids, part.values)
            rows, cut, longest = rows + len(part.ids), cut + part.cut, part.longest
        return written(rows, failed, source, cut, longest)


def failures(source: str, output: pathlib.Path | None) -> Failures:
    """What takes down inputs that cannot be read, beside the output, where there is one."""
    if output is None:
        return Failures(None)
    errors = output.with_name(f'{output.stem}_errors.csv')
    check_not_input(source, output)
    check_not_input(source, errors, 'would name what cannot be read, and is')
    return Failures(errors)


def check_not_input(source: str, file: pathlib.Path, what: str = 'is') -> None:
    """UserError where a file that is going to be written, or removed, is the input itself."""
    path = resolve_path(source, 'the input')
    if file.exists() and path.exists() and file.samefile(path):
        raise UserError(f'{file} {what} the input; choose another --output')


def written(rows: int, failed: Failures, source: str, cut: int = 0, longest: int = 0) -> Written:
    """What became of the inputs; UserError where none could be read."""
    if not rows and not failed.count:
        raise UserError(f'{source}: holds nothing')
    if not rows:
        first = failed.first[0]
        raise UserError(
            f'{source}: none of {failed.count} inputs could be read; the first, {first.id}: '
            f'{first.reason}'
        )
    return Written(rows, failed.count, tuple(failed.first), failed.path, cut, longest)


def shown(parts: Iterable[Outputs], source: str, progress: bool) -> Iterator[Outputs]:
    """The outputs as they come, with their progress."""
    done, total = 0, count_inputs(source) if progress else 0
    with Progress(max(1, total), 'predict', unit='inputs', enabled=progress) as bar:
        for part in parts:
            yield part
            done += len(part.ids)
            bar.update(done)
