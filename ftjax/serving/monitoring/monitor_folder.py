"""A look at a bundle's windows, from the files to the files; one process at a time."""

from __future__ import annotations

import dataclasses
import pathlib

from ftjax.errors import UserError
from ftjax.io.files.atomic import write_bytes
from ftjax.io.files.lock import run_lock
from ftjax.serving.bundle.manifest import check_manifest, manifest_digest
from ftjax.serving.bundle.reference import check_monitored, read_reference
from ftjax.serving.bundle.signature import read_signature
from ftjax.serving.monitoring.compare_windows import Look, look, thresholds
from ftjax.serving.monitoring.later_labels import read_labels
from ftjax.serving.monitoring.look_files import write_look
from ftjax.serving.monitoring.monitor_page import NAMES, when
from ftjax.serving.monitoring.stream_state import StreamState, file_of, new_state, read_state
from ftjax.serving.monitoring.two_sample import PERMUTATIONS


@dataclasses.dataclass(frozen=True)
class Monitored:
    """A look, and what to say of it."""

    look: Look
    lines: tuple[str, ...]


def monitor_folder(
    bundle: pathlib.Path,
    windows: pathlib.Path,
    output: pathlib.Path,
    *,
    now: float,
    labels: str | None = None,
    alpha: float = 0.05,
    fewest: int = 50,
    permutations: int = PERMUTATIONS,
    restart: bool = False,
) -> Monitored:
    """Tests what is new in a folder of windows; writes page, gauges and state to `output`.

    Args:
      bundle: its folder.
      windows: that a server writes with --monitor.
      output: made where it is missing.
      now: seconds since 1970; windows that are not closed then wait.
      labels: file of labels, or None.
      alpha: chance of any false alarm of the stream.
      fewest: answers that are tested together.
      permutations: of each test.
      restart: whether a new stream begins; the state of the old one is kept beside it.

    Raises:
      UserError: no bundle, or one whose reference traffic cannot be compared with; a folder or
        file that cannot be read; another alpha than the stream began with.
    """
    check_manifest(bundle)
    digest, signature = manifest_digest(bundle), read_signature(bundle)
    reference = read_reference(bundle, signature)
    check_monitored(reference)
    if labels is not None and signature.activation != 'softmax':
        raise UserError('--labels needs a bundle whose answers are one class each')
    known = None if labels is None else read_labels(pathlib.Path(labels), signature.class_names)
    if not windows.is_dir():
        raise UserError(f'{windows} is no folder; scripts/serve.py --monitor={windows} makes it')
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{output} cannot be made a folder: {error.strerror}') from error
    with run_lock(output):
        place = file_of(output, digest)
        again = restart and place.exists()
        try:
            old = read_state(output, digest, reference)
        except UserError:
            if not again:
                raise
            old = None  # of a damaged state nothing is known
        if old is None or again:
            began = 0 if old is None else old.tested_until
            state = new_state(digest, reference, alpha, began)
        else:
            state = old
        if state.alpha != alpha:
            raise UserError(
                f'--alpha is {alpha:g}, and this stream began with {state.alpha:g}; give that, '
                'or --restart'
            )
        found = look(
            *(windows, state, reference, signature),
            now=now,
            labels=known,
            fewest=fewest,
            permutations=permutations,
        )
        if again:  # not before: what fails, or is killed, leaves the old stream in its place
            keep_previous(place)
        write_look(output, found, bundle.resolve().name)
    return Monitored(found, tuple(_lines(found, state)))


def keep_previous(place: pathlib.Path) -> None:
    """Copies the state of a stream that ends; UserError where that cannot be done."""
    try:
        write_bytes(place.with_suffix('.previous'), place.read_bytes())
    except OSError as error:
        raise UserError(f'{place} cannot be kept: {error.strerror}') from error


def _lines(found: Look, state: StreamState) -> list[str]:
    limits = thresholds(state.alpha)
    told = [
        f'{len(found.tested)} new periods tested, {len(state.periods)} in all; '
        f'{found.waiting} windows wait'
    ]
    if found.folder.others:
        told.append(f'{found.folder.others} windows are of other bundles, and are left out')
    if found.late:
        told.append(f'{found.late} windows came after their time was tested, and are left out')
    if state.periods:
        last = state.periods[-1]
        told.append(
            f'last period: {when(last["start"])} to {when(last["end"])} UTC, '
            f'{last["seen"]:,} answers'
        )
        for name, row in last['statistics'].items():
            if 'statistic' in row:
                told.append(
                    f'  {NAMES[name]:32} {row["statistic"]:.3f}, by chance {row["typical"]:.3f}, '
                    f'p {row["p"]:.2g}'
                )
        told.append(f'evidence {last["evidence"]:.3g}; the alarm is at {limits["traffic"]:.3g}')
    for one in found.accuracy[-1:]:
        told.append(
            f'accuracy {100 * one.right / one.count:.1f} % of {one.count} labels; evidence of a '
            f'fall {state.label_evidence.value:.3g}, the alarm is at {limits["accuracy"]:.3g}'
        )
    if found.late_labels:
        told.append(
            f'{found.late_labels} labels came after those of their time were tested: they are in '
            'the accuracy, and no evidence'
        )
    if found.unknown_labels:
        told.append(f'{found.unknown_labels} labels belong to no answer in a sample')
    told.append(f'ALARM: {", ".join(found.alarms)}' if found.alarms else 'no alarm')
    return told
