"""What the report of a run is made from: read from its folder, or taken from a run in memory."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Self

from ftjax.errors import UserError
from ftjax.io.files.atomic import read_json, to_jsonable
from ftjax.io.json.json_values import JsonObject
from ftjax.io.json.stored_fields import check_fields_of, read_result
from ftjax.io.process.provenance import provenance
from ftjax.runs.prepare import Prepared
from ftjax.runs.report.kept_examples import KeptExamples, kept_examples
from ftjax.tasks.statistics import Statistics
from ftjax.training.loop.fit_result import FitResult
from ftjax.training.loop.metrics_log import read_history


@dataclasses.dataclass(frozen=True)
class ReportFacts:
    """All that the report of a run is made from, in the form in which its files hold it."""

    name: str
    """What the run is called: its folder."""
    config: JsonObject
    plan: JsonObject
    result: JsonObject
    history: Sequence[JsonObject]
    kept: KeptExamples | None
    """None of a run that kept nothing for a report, of an earlier version say."""

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Self:
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
        return cls(
            folder.resolve().name,
            read_json(folder / 'config.json'),
            plan,
            read_result(folder / 'result.json', ('metrics', 'steps')),
            read_history(folder),
            KeptExamples.read(folder),
        )

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        fitted: FitResult,
        result: JsonObject,
        found: Statistics,
        name: str = 'run',
    ) -> Self:
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
            kept_examples(prepared, found, result['metrics'], fitted),
        )
