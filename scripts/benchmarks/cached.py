"""Steps that start at the cut, beside PyTorch, which runs the frozen stages at every step."""

from __future__ import annotations

import pathlib
from functools import partial
from typing import Any

import numpy as np

ARMS = ('head', 'last:1', 'last:2', 'last:4', 'full')
CELLS = 9  # 3 rates x 3 seeds
EPOCHS, IMAGES, VALIDATION = 5, 1000, 100


def run(
    folder: pathlib.Path,
    rounds: int = 7,
    image: int = 224,
    depth: int = 12,
    batch: int = 32,
    steps: int = 2,
    images: int = 64,
) -> list[dict[str, Any]]:
    """Writes cached.json: a step of last:2, and a depth ablation put together from its steps.

    Both sides take turns, arm by arm, for `rounds` rounds of `steps` steps. The ablation is the
    sum over arms of cells x steps x seconds a step, with one pass over training and validation
    images for each arm that stores features (its cells share them); `images` of it are measured.
    """
    from benchmarks import sides, tables
    from benchmarks.torch_vit import FineTuning as Theirs

    from ftjax.data import Splits
    from ftjax.io.process.progress import Progress
    from ftjax.training.feature_cache import store

    train, val = sides.made_images(images, image), sides.made_images(8, image, seed=1)
    data = Splits(train=train, val=val, test=val)
    network, variables = sides.made_network(image, depth)
    options = {**sides.OPTIONS, 'depth': depth}
    ours = {arm: sides.FineTuning(network, variables, arm, data, batch) for arm in ARMS}
    theirs = {arm: Theirs(arm, train.inputs, train.labels, batch, **options) for arm in ARMS}
    times: dict[str, list[Any]] = {arm: [] for arm in ARMS}
    fills: list[np.ndarray] = []
    with Progress(rounds + 1, 'cached', unit='rounds') as bar:
        for arm in ARMS:
            theirs[arm].choose_threads(sides.threads())
        for number in range(rounds + 1):
            for arm in ARMS:
                sides_ = ours[arm], theirs[arm]
                pair = [np.array(sides.timed(partial(s.steps, steps))) / steps for s in sides_]
                if number:  # the first round loads programs and warms caches
                    times[arm].append(pair)
            store.forget()
            filled = sides.FineTuning(network, variables, 'last:1', data, batch)
            if number:
                fills.append(np.array(filled.filling) / (images + 8))
            bar.update(number + 1, {})

    def step_row(arm: str, pairs: list[Any]) -> dict[str, Any]:
        mine, other = ([pair[side] for pair in pairs] for side in (0, 1))
        target = 2.0 if arm == 'last:2' else None
        return sides.row(f'a step of {arm}', mine, other, target, 'step')

    rows = [step_row(arm, times[arm]) for arm in ARMS]
    totals = []
    for number in range(rounds):
        many = CELLS * EPOCHS * (IMAGES // batch)
        mine, other = (sum(many * times[arm][number][side] for arm in ARMS) for side in (0, 1))
        totals.append((mine + (len(ARMS) - 1) * (IMAGES + VALIDATION) * fills[number], other))
    name = f'depth ablation, {len(ARMS)} arms x {CELLS} cells, training (extrapolated)'
    mine, other = ([pair[side] for pair in totals] for side in (0, 1))
    rows.insert(0, sides.row(name, mine, other, 1.4, 'ablation'))
    rows.insert(0, rows.pop(1 + ARMS.index('last:2')))
    tables.write(
        folder,
        'cached',
        rows,
        f'Steps from stored features beside PyTorch without a cache: ViT of {depth} blocks, width '
        f'{options["width"]}, {image} px, batch {batch}. Ratio: seconds of PyTorch over seconds '
        f'of ftjax, median and quartiles of {rounds} rounds taken in turn, {steps} steps each. '
        'The first row begins with the features stored; reading a batch of them is counted. The '
        f'ablation ({EPOCHS} epochs, {IMAGES:,} images) is the sum over its cells of these '
        'steps, with one pass over training and validation images for each arm that stores '
        f'features, of which {images + 8} images were measured. PyTorch has one thread or all, '
        'whichever was faster for the arm, and OMP_WAIT_POLICY=passive.',
        'python scripts/benchmark.py cached',
    )
    return rows
