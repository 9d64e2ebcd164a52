"""The report of one run: read from its folder, or taken from the run as it ends."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.files.atomic import read_json, to_jsonable, write_text
from ftjax.io.json.jsonl import read_jsonl
from ftjax.io.json.stored_fields import check_fields_of, read_result
from ftjax.io.process.provenance import provenance
from ftjax.pages.page import framed
from ftjax.runs.prepare import Prepared
from ftjax.runs.report.kept_examples import KeptExamples, kept_examples
from ftjax.tasks.statistics import Statistics
from ftjax.training.loop.fit_result import FitResult

_log = logging.getLogger(__name__)
PAGE = 'report.html'


@dataclasses.dataclass(frozen=True)
class RunReport:
    """All that the report of a run is made from, in the form in which its files hold it."""

    name: str
    """What the run is called: its folder."""
    config: Mapping[str, Any]
    plan: Mapping[str, Any]
    result: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    kept: KeptExamples | None
    """None of a run that kept nothing for a report, of an earlier version say."""

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> RunReport:
        """From the folder of a finished run.

        Raises:
          UserError: the run is not finished, or a file is damaged.
        """
        folder = pathlib.Path(folder)
        if not (folder / 'config.json').exists():
            raise UserError(f'{folder} is no run folder: it holds no config.json')
        if not (folder / 'result.json').exists():
            raise UserError(f'{folder}: the run is not finished: there is no result.json')
        plan = read_json(folder / 'plan.json')
        check_fields_of(plan, str(folder / 'plan.json'), {'phases': list, 'strategy': str})
        log = folder / 'metrics.jsonl'
        return cls(
            folder.resolve().name,
            read_json(folder / 'config.json'),
            plan,
            read_result(folder / 'result.json', ('metrics', 'steps')),
            read_jsonl(log) if log.exists() else [],
            KeptExamples.read(folder),
        )

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        fitted: FitResult,
        result: Mapping[str, Any],
        found: Statistics,
        name: str = 'run',
    ) -> RunReport:
        """From a run in memory.

        Args:
          prepared: the run.
          fitted: its training.
          result: what result.json holds of it.
          found: the statistics of its test split; without a row where there is none.
          name: of the run.
        """
        result = {'provenance': provenance(), **result}
        return cls(
            name,
            to_jsonable(prepared.config.to_json()),
            to_jsonable(fitted.plan.to_json()),
            to_jsonable(result),
            to_jsonable(fitted.history),
            kept_examples(prepared, found, result['metrics']),
        )

    def html(self) -> str:
        """The page."""
        from ftjax.runs.report.contents import contents  # it draws: matplotlib is loaded here

        return contents(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the page, whole or not at all."""
        write_text(path, self.html())

    def _repr_html_(self) -> str:
        return framed(self.html())


def write_report(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes report.html of a finished run anew, from its folder alone; the path of the page.

    Raises:
      UserError: the run is not finished, or a file is damaged.
    """
    page = pathlib.Path(folder) / PAGE
    RunReport.read(folder).save(page)
    return page


def report_at_end(folder: pathlib.Path, make: Callable[[], RunReport]) -> None:
    """Writes report.html and what it can be made from again into the folder of a finished run.

    The run is written already: what goes wrong here costs the report, and is said.
    """
    try:
        report = make()
        if report.kept is not None:
            report.kept.write(folder)
        report.save(folder / PAGE)
    except Exception as error:
        _log.warning(
            'the run is written, its report is not: %s: %s; python scripts/report.py --workdir=%s '
            'tries again',
            type(error).__name__,
            ' '.join(str(error).split()),
            folder,
        )
