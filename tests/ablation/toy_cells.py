"""Cells that take no time and no network, for tests of where and how cells are run.

As a script it runs a grid of them in a folder, as scripts/ablate.py does:

    python tests/ablation/toy_cells.py FOLDER ENGINE SECONDS
"""

import dataclasses
import math
import os
import pathlib
import signal
import sys
import time

from ftjax.ablation.engines.engine import Work
from ftjax.ablation.engines.placement import Need
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError

SETTINGS = AblationSettings(
    arms={'full': 'full', 'head': 'head', 'none': {'baseline': 'pixels'}},
    rates=(1e-3, 1e-2, 1e-1),
    seeds=(0, 1, 2),
)
MANY = dataclasses.replace(SETTINGS, seeds=tuple(range(10)))


@dataclasses.dataclass(frozen=True)
class Toy:
    """A cell that takes `seconds`; `deadly` ones kill their process, `once` the first time."""

    seconds: float = 0.0
    deadly: tuple = ()
    once: tuple = ()
    mark: str = ''
    """A file that is written before the death of `once`."""
    mistaken: tuple = ()
    faulty: tuple = ()
    places: str = ''
    """A file to which a line goes for each cell: its arm and the devices that it may use."""

    def __call__(self, arm, rate, seed):
        cell = arm, rate, seed
        time.sleep(self.seconds)
        if self.places:
            seen = os.environ.get('CUDA_VISIBLE_DEVICES', '')
            with open(self.places, 'a') as file:
                file.write(f'{arm} {len(seen.split(",")) if seen else 0}\n')
        if cell in self.deadly or (cell in self.once and not os.path.exists(self.mark)):
            pathlib.Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if cell in self.mistaken:
            raise UserError(f'no such thing as {arm}')
        if cell in self.faulty:
            raise ZeroDivisionError('by nothing')
        peak = {'full': 1e-2, 'head': 1e-1}.get(arm, 1.0)
        score = 0.5 if rate is None else 0.9 - 0.1 * abs(math.log10(rate / peak))
        score += 0.01 * math.sin(7 * seed + len(arm))
        values = {'accuracy': score}
        times = {'wall_seconds': 1.0, 'cell_seconds': 1.0}
        return {'status': 'ok', 'val': values, 'test': values, **times}

    def together(self, job):
        return [{**self(*cell), 'vectorised': len(job)} for cell in job]


@dataclasses.dataclass(frozen=True)
class ToyNeeds:
    """What toy cells need of devices: `sizes` GiB by arm and number of devices."""

    toy: Toy
    sizes: dict
    memory: int | None = 10 * 2**30
    devices: dict = dataclasses.field(default_factory=dict)

    def by_hand(self, arm):
        return self.devices.get(arm)

    def meshed(self, arm):
        return 0

    def networkless(self, arm):
        return arm == 'none'

    def need(self, arm, runs, limit):
        count = len(os.environ['CUDA_VISIBLE_DEVICES'].split(','))
        return Need(int(self.sizes[arm][count] * 2**30), stored=arm == 'head')

    def on(self, fsdp):
        return Work(self.toy, None, self)


def main(folder, name, seconds):
    from ftjax.ablation.engines.factory import make_engine
    from ftjax.ablation.grid.run_grid import run_grid
    from ftjax.ablation.report.tables import write_summary
    from ftjax.ablation.summary.summary import summarise
    from ftjax.io.files.lock import run_lock

    engine = make_engine(name, 2 if name == 'processes' else None)
    with run_lock(folder):
        rows = run_grid(MANY, Toy(float(seconds)), folder, {}, engine=engine)
        arms = list(MANY.arms)
        write_summary(folder, summarise(rows, reference='full', arms=arms, seeds=MANY.draws))


if __name__ == '__main__':
    main(*sys.argv[1:])
