"""The report of one run: read from its folder, or taken from the run as it ends."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Callable

from ftjax.io.files.atomic import write_text
from ftjax.pages.page import framed
from ftjax.runs.report.report_facts import ReportFacts

_log = logging.getLogger(__name__)
PAGE = 'report.html'


@dataclasses.dataclass(frozen=True)
class RunReport(ReportFacts):
    """The report of a run as a page."""

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
