"""What is raised where a run was asked to stop."""

from __future__ import annotations

import signal


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; what was done is saved and the same command goes on."""

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(f'stopped by {signal.Signals(signum).name}')

    def say(self, where: str) -> None:
        """Adds how far the run is to the message: 'stopped by SIGTERM ' and this."""
        self.args = (f'stopped by {signal.Signals(self.signum).name} {where}',)

    @property
    def status(self) -> int:
        """The exit code that a shell expects: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.signum
