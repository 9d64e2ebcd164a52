"""Writes tests/pretrained/goldens/positions.npz: PyTorch's own resizing of position grids.

    python scripts/parity/make_position_goldens.py

Needs PyTorch, which the tests then do without. For every case there are `grid_i`
(height, width, channels), `target_i` (height, width), `case_i` (method, antialias) and
`resized_i`, what `torch.nn.functional.interpolate(align_corners=False)` makes of the grid in
float64.
"""

from __future__ import annotations

import pathlib

import numpy as np
import torch

CASES = [
    ((14, 14), (7, 7)),
    ((7, 7), (14, 14)),
    ((4, 6), (9, 5)),
    ((16, 16), (21, 21)),
    ((3, 5), (2, 2)),
    ((1, 4), (3, 1)),
    ((5, 5), (5, 5)),
]


def main() -> None:
    random = np.random.default_rng(0)
    found = {}
    index = 0
    for source, target in CASES:
        grid = random.normal(size=(*source, 2))
        for method in ('bicubic', 'bilinear'):
            for antialias in (False, True):
                resized = torch.nn.functional.interpolate(
                    torch.from_numpy(grid).permute(2, 0, 1)[None],
                    size=target,
                    mode=method,
                    align_corners=False,
                    antialias=antialias,
                )
                found[f'grid_{index}'], found[f'target_{index}'] = grid, np.array(target)
                found[f'case_{index}'] = np.array([method, str(antialias)])
                found[f'resized_{index}'] = resized[0].permute(1, 2, 0).numpy()
                index += 1
    folder = pathlib.Path(__file__).parents[2] / 'tests' / 'pretrained' / 'goldens'
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / 'positions.npz', count=index, **found)  # pyrefly: ignore
    print(f'{index} cases written to {folder}/positions.npz, torch {torch.__version__}')


if __name__ == '__main__':
    main()
