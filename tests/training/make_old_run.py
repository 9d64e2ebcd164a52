"""Makes old_best.tar.xz: a run stopped in its last steps, its best checkpoint not the last.

    PYTHONPATH=. python tests/training/make_old_run.py

Run at commit 1d6dec9, whose checkpoints have their rank in the manifest: later versions must open
them. Prints what that version takes for the best step.
"""

import json
import pathlib
import tarfile
import tempfile

from ftjax.config import read_config
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.training.loop.run_state import RunState

NETWORK = {'image_size': 8, 'patch_size': 4, 'width': 4, 'depth': 2, 'heads': 2}
CONFIG = {
    'init': '',
    'model': {'name': 'vit', **NETWORK},
    'data': {'source': 'digits:scattered', 'examples_per_class': 3, 'batch_size': 10},
    'train': {'steps': 12, 'eval_every': 0.67, 'cache': 'off', 'report': False},
    'optimizer': {'learning_rate': 0.03},
    'freeze': 'last:1',
}


def main():
    record = RunState.record

    def stopping(self, *arguments):
        if len(self.history) == 5:
            raise KeyboardInterrupt
        record(self, *arguments)

    RunState.record = stopping
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place) / 'old'
        try:
            train(prepare(read_config(CONFIG)), folder, progress=False)
        except KeyboardInterrupt:
            rows = [json.loads(row) for row in (folder / 'metrics.jsonl').read_text().splitlines()]
            print([(row['step'], row['val_score'], row['val_loss']) for row in rows])
            print(sorted(int(path.name) for path in (folder / 'checkpoints').iterdir()))
        with tarfile.open(pathlib.Path(__file__).with_name('old_best.tar.xz'), 'w:xz') as archive:
            archive.add(folder, 'old')


if __name__ == '__main__':
    main()
