"""A trace of some steps of a run, for TensorBoard or Perfetto; and whether steps wait for data."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Mapping

import jax

_log = logging.getLogger(__name__)
WAITING = 0.3
"""Share of the time of steps and their data beyond which waiting for data is told."""


class Profile:
    """Traces `steps` steps into `folder`, from the second call of the loop on.

    The first call compiles and loads its program, which would fill the trace.
    """

    def __init__(self, folder: pathlib.Path | None, steps: int = 0):
        self.folder, self.left = folder, steps if folder is not None else 0
        self.calls, self.running = 0, False

    def before_call(self) -> None:
        """To be called before each call of the program."""
        self.calls += 1
        if self.left > 0 and self.calls > 1 and not self.running:
            jax.profiler.start_trace(str(self.folder))
            self.running = True

    def after_call(self, steps: int) -> None:
        """To be called once the call's results are there."""
        if self.running:
            self.left -= steps
            if self.left <= 0:
                self.stop()

    def stop(self) -> None:
        """Writes the trace; nothing if there is none."""
        if self.running:
            jax.profiler.stop_trace()
            self.running = False
            _log.info('a trace of the steps is in %s', self.folder)


def warn_of_waiting(seconds: Mapping[str, float], least: float = 5.0) -> None:
    """A warning if steps wait for their data.

    Args:
      seconds: by stage, 'data' and 'step' among them, of the whole run.
      least: of a wait worth a word, in seconds.
    """
    data, step = seconds.get('data', 0.0), seconds.get('step', 0.0)
    if data > least and data > WAITING * (data + step):
        _log.warning(
            'the steps waited %.0f s for their data, %.0f %% of the time: decode or resize the '
            'inputs once beforehand, store features (train.cache), or use a faster disk',
            data,
            100 * data / (data + step),
        )
