"""A network as its plan sees it: stage below stage, what is frozen, what trains, and the cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftjax.freezing.rules import FROZEN
from ftjax.io.json.json_values import JsonObject
from ftjax.plotting.style import COLOURS, GREY, LIGHT, new_figure, quiet, titled
from ftjax.printable import in_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8
"""Phases that are drawn beside each other; of more, some in between are left out."""


def stage_sizes(phase: JsonObject) -> dict[str, tuple[int, int]]:
    """(parameters, those that train) of each stage of a phase as plan.json has it.

    >>> leaf = {'group': 'frozen', 'shape': [2, 3]}
    >>> stage_sizes({'stages': {'head': {}}, 'leaves': {'head/kernel': leaf}})
    {'head': (6, 0)}
    """
    sizes = {name: [0, 0] for name in phase['stages']}
    for path, leaf in phase['leaves'].items():
        size = int(np.prod(leaf['shape'], dtype=np.int64))
        both = sizes.setdefault(path.split('/')[0], [0, 0])
        both[0] += size
        both[1] += size * (leaf['group'] != FROZEN)
    return {name: (total, trained) for name, (total, trained) in sizes.items()}


def network_picture(phases: Sequence[Mapping[str, object]]) -> Figure:
    """Stages from the input down to the output, a column a phase, and parameters by stage.

    Args:
      phases: those of plan.json.
    """
    from matplotlib.patches import Patch, Rectangle

    sizes = [stage_sizes(phase) for phase in phases]
    places = np.unique(np.linspace(0, len(phases) - 1, min(len(phases), SHOWN)).astype(int))
    stages = list(sizes[0])
    tall = float(np.clip(0.27 * len(stages) + 1.5, 2.4, 14))
    figure = new_figure(4.8, tall)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(max(1, 0.5 * len(places)), 1.2))
    for column, at in enumerate(places):
        for row, name in enumerate(stages):
            total, trained = sizes[at].get(name, (0, 0))
            share = trained / total if total else 0.0
            colour = COLOURS[0] if share else LIGHT
            box = Rectangle(
                (column + 0.06, row - 0.42),
                *(0.88, 0.84),
                facecolor=colour,
                alpha=0.35 + 0.65 * share if share else 1.0,
                edgecolor=GREY,
                linewidth=0.6,
                hatch='' if share else '///',
            )
            left.add_patch(box)
        cut = phases[at]['cut']
        if cut in stages:
            y = stages.index(cut) - 0.5
            left.plot([column, column + 1], [y, y], color=COLOURS[1], linewidth=2.4)
    left.set_xlim(0, len(places))
    left.set_ylim(len(stages) - 0.4, -0.7)
    left.set_xticks(
        [column + 0.5 for column in range(len(places))],
        [f'{phases[at]["start"]}' for at in places],
    )
    left.set_yticks(range(len(stages)), [in_figure(name) for name in stages])
    left.set(xlabel='from step', ylabel='stage, input at the top')
    quiet(left, 'x')
    left.grid(False)
    left.tick_params(length=0)
    titled(left, 'What trains')
    ends = {name: max(found.get(name, (0, 0))[1] for found in sizes) for name in stages}
    totals = [sizes[0][name][0] for name in stages]
    rows = range(len(stages))
    right.barh(rows, totals, 0.7, color=LIGHT, edgecolor=GREY, linewidth=0.6)
    right.barh(rows, [ends[name] for name in stages], 0.7, color=COLOURS[0])
    right.set_xscale('symlog', linthresh=1)
    right.set_xlim(left=0)
    most = int(np.floor(np.log10(max(totals) or 1)))
    right.set_xticks(sorted({0, 10 ** max(1, most // 2), 10**most}))
    right.set_xlabel('number of parameters, log scale')
    quiet(right, 'x')
    right.tick_params(axis='y', length=0)
    titled(right, 'Parameters')
    handles = [
        Patch(facecolor=LIGHT, edgecolor=GREY, hatch='///', label='frozen'),
        Patch(facecolor=COLOURS[0], label='trained'),
        left.plot([], [], color=COLOURS[1], linewidth=2.4, label='cut')[0],
    ]
    figure.legend(handles=handles, loc='outside lower center', ncols=3, frameon=False, fontsize=8.5)
    return figure
