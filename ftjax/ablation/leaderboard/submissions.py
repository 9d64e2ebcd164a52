"""Arms that others hand in: a folder with config, rows and hashes, checked before it counts."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence

from ftjax.ablation.leaderboard.entries import metrics_of
from ftjax.ablation.leaderboard.row_checks import problems
from ftjax.ablation.leaderboard.settings_found import ROWS, Located, Setting, located_rows
from ftjax.errors import UserError, check_name
from ftjax.io.files.atomic import write_json
from ftjax.io.json.stored_fields import read_fields

SEAL = 'submission.json'
CONFIG = 'config.py'


@dataclasses.dataclass(frozen=True)
class Submission:
    """A folder, its arms as they would be listed, and what speaks against each."""

    name: str
    setting: str
    arms: Mapping[str, list[Located]]
    problems: tuple[str, ...]
    """() for one that counts."""


def seal(folder: pathlib.Path, setting: str, settings: Mapping[str, Setting]) -> pathlib.Path:
    """Writes the hashes of a submission's files, and of which setting it is; returns the file.

    Raises:
      UserError: an unknown setting, or files that are not there.
    """
    check_name(setting, settings, 'setting')
    hashes = {name: file_hash(folder / name) for name in (CONFIG, ROWS)}
    write_json(folder / SEAL, {'setting': setting, 'sha256': hashes})
    return folder / SEAL


def read_submission(
    folder: pathlib.Path, place: str, settings: Mapping[str, Setting]
) -> Submission:
    """A submission with all that is wrong with it; nothing of it is trusted.

    Args:
      folder: of the submission.
      place: of it, relative to the folder of all results, with slashes.
      settings: the settings there are.
    """
    name = folder.name
    try:
        told = read_fields(folder / SEAL, {'setting': str, 'sha256': dict})
        setting, hashes = told['setting'], told['sha256']
        wrong = [
            f'{file} is not the file that was sealed'
            for file in (CONFIG, ROWS)
            if hashes.get(file) != file_hash(folder / file)
        ]
        rows = list(located_rows(folder / ROWS, f'{place}/{ROWS}'))
    except UserError as error:
        return Submission(name, '', {}, (str(error),))
    if setting not in settings:
        return Submission(name, setting, {}, (*wrong, f'there is no setting {setting!r}'))
    joined = settings[setting]
    if not joined.rows:
        why = f'the rows of {setting!r} are not those of arms that its report compares'
        return Submission(name, setting, {}, (*wrong, why))
    own = Setting(setting, tuple(rows)).arms
    if not own:
        wrong.append(f'{ROWS} holds no rows')
    for arm, found in problems(own, joined.arms).items():
        wrong += [f'{arm}: {words}' for words in found]
    lacking = missing_metrics(rows, joined.rows)
    if lacking:
        wrong.append(f'finished rows without {", ".join(lacking)} on validation or test data')
    return Submission(name, setting, {f'{name}: {arm}': r for arm, r in own.items()}, tuple(wrong))


def missing_metrics(rows: Sequence[Located], joined: Sequence[Located]) -> list[str]:
    """Metrics of the rows of a setting that finished rows of a submission to it do not have.

    A setting is listed by the metrics that all its rows have: it would lose these.
    """
    of_setting = metrics_of([one.row for one in joined])
    kept = metrics_of([one.row for one in (*joined, *rows)])
    return [name for name in of_setting if name not in kept]


def file_hash(path: pathlib.Path) -> str:
    """SHA-256 (hex) of a file; UserError where it is not there."""
    if not path.is_file():
        raise UserError(f'{path} is not there; a submission holds {CONFIG} and {ROWS}')
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def with_submissions(
    settings: Mapping[str, Setting], handed_in: list[Submission]
) -> dict[str, Setting]:
    """The settings with the rows of what counts, each arm under the submission's name."""
    found = dict(settings)
    for submission in handed_in:
        if submission.problems:
            continue
        rows = [
            dataclasses.replace(one, row={**one.row, 'arm': arm})
            for arm, located in submission.arms.items()
            for one in located
        ]
        before = found[submission.setting]
        found[submission.setting] = dataclasses.replace(before, rows=(*before.rows, *rows))
    return found
