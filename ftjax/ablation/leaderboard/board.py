"""The leaderboard of a folder of results: read, filtered, written."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from ftjax.ablation.leaderboard import submissions
from ftjax.ablation.leaderboard.config_links import Links, configs_named
from ftjax.ablation.leaderboard.entries import Entry, all_entries
from ftjax.ablation.leaderboard.html_page import html
from ftjax.ablation.leaderboard.markdown_page import markdown
from ftjax.ablation.leaderboard.settings_found import SUBMISSIONS, settings_below
from ftjax.errors import UserError, check_name
from ftjax.io.files.atomic import write_text

FOLDER = 'leaderboard'


@dataclasses.dataclass(frozen=True)
class Board:
    """All entries, what was handed in, and where the page goes."""

    results: pathlib.Path
    entries: tuple[Entry, ...]
    without: dict[str, str]
    """Settings that have no entries, and why."""
    handed_in: tuple[submissions.Submission, ...]

    @property
    def refused(self) -> dict[str, str]:
        """Submissions that do not count, and why."""
        return {one.name: '; '.join(one.problems) for one in self.handed_in if one.problems}

    def check(self, setting: str, metric: str, budget: float | None) -> None:
        """UserError for a filter that nothing can pass."""
        del budget
        if setting:
            check_name(setting, [entry.setting for entry in self.entries], '--setting')
        if metric:
            check_name(metric, [entry.metric for entry in self.entries], '--metric')

    def write(self, commits: str = '') -> list[pathlib.Path]:
        """Writes both pages; returns their files.

        Args:
          commits: see `Links`.
        """
        folder = self.results / FOLDER
        folder.mkdir(exist_ok=True)
        given = self.without, self.handed_in, Links(configs_named(self.results), commits)
        write_text(folder / 'index.html', html(self.entries, *given))
        write_text(folder / 'README.md', markdown(first_metrics(self.entries), *given))
        return [folder / 'index.html', folder / 'README.md']


def build(results: pathlib.Path) -> Board:
    """Reads the rows below a folder, and the submissions; nothing is written.

    Raises:
      UserError: a row of the results that cannot be one, a summary.json that is none, or no rows
        at all.
    """
    settings = settings_below(results)
    if not settings:
        raise UserError(f'{results} holds no runs.jsonl')
    place = f'{FOLDER}/{SUBMISSIONS}'
    folders = [path for path in sorted((results / place).glob('*')) if path.is_dir()]
    handed_in = [
        submissions.read_submission(path, f'{place}/{path.name}', settings) for path in folders
    ]
    entries, without = all_entries(submissions.with_submissions(settings, handed_in))
    return Board(results, tuple(entries), without, tuple(handed_in))


def seal(results: pathlib.Path, folder: pathlib.Path, setting: str) -> pathlib.Path:
    """Seals a submission to a setting; what would speak against it is an error.

    A seal that was there before stays where there is an error.

    Raises:
      UserError: an unknown setting, files that are not there, or arms that would not count.
    """
    settings = settings_below(results)
    if not setting:
        raise UserError(f'--seal needs --setting, one of {", ".join(settings)}')
    path = folder / submissions.SEAL
    before = path.read_bytes() if path.is_file() else None
    written = submissions.seal(folder, setting, settings)
    found = submissions.read_submission(folder, folder.name, settings)
    if found.problems:
        written.unlink()
        if before is not None:
            written.write_bytes(before)
        raise UserError(f'{folder} would not count: {"; ".join(found.problems)}')
    return written


def first_metrics(entries: Sequence[Entry]) -> list[Entry]:
    """The entries by the first metric of each setting, that of its report where there is one."""
    first: dict[str, str] = {}
    for entry in entries:
        first.setdefault(entry.setting, entry.metric)
    return [entry for entry in entries if first[entry.setting] == entry.metric]


def shown(board: Board, entries: Sequence[Entry], commits: str = '') -> str:
    """Some entries as text for a terminal: the Markdown page's tables; `commits` as of `Links`."""
    if not entries:
        return 'nothing passes these filters'
    return markdown(entries, {}, board.handed_in, Links(configs_named(board.results), commits))
