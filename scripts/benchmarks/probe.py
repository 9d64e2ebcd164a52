"""A sweep of linear heads over rates and seeds, beside PyTorch with and without features."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

RATES, SEEDS = 10, 5


def run(
    folder: pathlib.Path,
    images: int = 2000,
    held: int = 200,
    image: int = 224,
    depth: int = 12,
    batch: int = 32,
    epochs: int = 10,
    steps: int = 0,
    heads: int = 10,
    rounds: int = 5,
) -> list[dict[str, Any]]:
    """Writes probe.json: the whole sweep, and the sweep once features are ready.

    Of the frozen-backbone trainings one epoch of one cell is measured, half before our sweep and
    half after it; `steps` measures fewer of its steps. Of the heads on features cached by hand
    `heads` are trained in each round, in turn with our sweep of all of them, and scaled up.
    """
    from benchmarks import sides, tables
    from benchmarks.torch_vit import FineTuning as Theirs
    from benchmarks.torch_vit import faster_threads, train_head

    from ftjax.data import Splits
    from ftjax.freezing.plan.plan import make_plan
    from ftjax.optim.optimizer import OptimizerSettings
    from ftjax.optim.schedule import ScheduleSettings
    from ftjax.training.feature_cache import store
    from ftjax.training.settings import TrainSettings
    from ftjax.training.step.run_spec import RunSpec
    from ftjax.training.sweeps.vmapped_fit import fit_many

    train, val = sides.made_images(images, image), sides.made_images(held, image, seed=1)
    data = Splits(train=train, val=val, test=val)
    network, variables = sides.made_network(image, depth)
    rates = tuple(np.geomspace(1e-4, 1e-1, RATES).tolist())
    spec = RunSpec(
        *(network, variables, make_plan('head', network, variables), data),
        optimizer=OptimizerSettings(learning_rate=1.0, weight_decay=0.01),
        schedule=ScheduleSettings(warmup=0.0),
        settings=TrainSettings(epochs=float(epochs)),
        preprocessing=sides.FineTuning.preprocessing(network),
        batch_size=batch,
    )

    def sweep() -> None:
        found = fit_many(spec, dict.fromkeys(range(SEEDS), variables), rates)
        assert len(found) == RATES * SEEDS

    options = {**sides.OPTIONS, 'depth': depth}
    theirs = Theirs('head', train.inputs, train.labels, batch, **options)
    theirs.choose_threads(sides.threads())
    per_epoch = images // batch
    measured = min(steps or per_epoch, per_epoch)
    half = max(1, measured // 2)
    epoch = np.array(sides.timed(lambda: theirs.steps(half)))
    store.forget()
    whole = sides.timed(sweep)  # features and compilation counted
    epoch += sides.timed(lambda: theirs.steps(max(1, measured - half)))
    full = epoch * per_epoch / max(measured, 2) * epochs * RATES * SEEDS
    features = [known.arrays['hidden'] for known in store.kept()]

    def by_itself(number: int, threads: int, epochs: int = epochs) -> None:
        x, held_x = (np.array(known) for known in features)
        rate, seed = rates[number % RATES], number // RATES % SEEDS
        given = x, train.labels, (held_x, val.labels), rate, seed, epochs, batch, threads
        train_head(*given)

    threads = faster_threads(lambda count: by_itself(0, count, epochs=1), sides.threads())
    ready, by_hand = [], []
    for number in range(rounds):
        ready.append(sides.timed(sweep))
        turn = range(number * heads, (number + 1) * heads)
        seconds = [sides.timed(lambda n=n: by_itself(n, threads)) for n in turn]
        by_hand.append(np.sum(seconds, axis=0) * RATES * SEEDS / heads)
    rows = [
        sides.row('whole sweep, features and compilation counted', [whole], [full], 200, 'sweep'),
        sides.row('with features ready, heads alone', ready, by_hand, 5, 'sweep'),
    ]
    tables.write(
        folder,
        'probe',
        rows,
        f'{RATES} rates x {SEEDS} seeds x {epochs} epochs of a linear head on {images:,} images '
        f'at {image} px through a ViT of {depth} blocks, width {options["width"]}, batch {batch}; '
        f'ours validates every epoch on {held} images more. Ratio: seconds of PyTorch over '
        f'seconds of ftjax. PyTorch of the first row: {measured} of the {per_epoch} steps of one '
        f'epoch of one cell, half before and half after our sweep, times {epochs} epochs times '
        f'{RATES * SEEDS} cells, without validation. Of the second: {heads} heads in each of '
        f'{rounds} rounds, in turn with our sweep of all {RATES * SEEDS}, scaled to as many; '
        f'median and quartiles. PyTorch has {theirs.threads} and {threads} threads, the faster of '
        '1 and all, and OMP_WAIT_POLICY=passive.',
        'python scripts/benchmark.py probe',
    )
    return rows
