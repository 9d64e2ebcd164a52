"""Figures are drawn from what the summary holds, and labels keep clear of each other."""

import numpy as np
import pytest

from ftjax.ablation.report import figures, figures_arms
from ftjax.ablation.summary.summary import summarise
from ftjax.plotting import style

LEVELS = {'head': 0.70, 'last:1': 0.78, 'last:2': 0.84, 'full': 0.80, 'scratch': 0.30}


def rows(seeds=3, rates=(1e-4, 1e-3, 1e-2), **more):
    rng = np.random.default_rng(0)
    found = []
    for i, (arm, level) in enumerate(LEVELS.items()):
        for rate in rates:
            for seed in range(seeds):
                value = level + rng.normal(0, 0.01) - 0.05 * abs(np.log10(rate) + 3)
                found.append(
                    {
                        'arm': arm,
                        'rate': rate,
                        'seed': seed,
                        'status': 'ok',
                        'val': {'accuracy': value},
                        'test': {'accuracy': value},
                        'params_trainable': 10 ** (i + 1),
                        'params_total': 10**5,
                        **more,
                    }
                )
    return found


@pytest.fixture(scope='module')
def rich():
    extra = {
        'step_seconds_median': 0.01,
        'step_flops': 1e9,
        'movement': {'stem': 0.0, 'head': 0.5},
        'shifts': {'blur': {'accuracy': 0.4}, 'noise': {'accuracy': 0.5}},
    }
    table = rows(**extra)
    table[2]['status'] = 'diverged'
    return summarise(table, reference='full')


def test_every_figure_is_drawn_where_its_numbers_exist(rich):
    assert [drawn.name for drawn in figures.draw(rich)] == [
        'scores_by_shift',
        'scores_by_arm',
        'scores_by_share',
        'scores_by_cost',
        'depth_curve',
        'rate_curves',
        'movement',
    ]


def test_nothing_is_drawn_from_nothing():
    plain = [
        {k: v for k, v in row.items() if not k.startswith('params')}
        for row in rows(rates=(1e-3,))
        if row['arm'] in ('full', 'scratch')
    ]
    for row in plain:
        row.update(status='diverged', val={}, test={})
    summary = summarise(plain, reference='full')
    assert [drawn.name for drawn in figures.draw(summary)] == ['scores_by_arm']


def test_tasks_get_figures_of_their_own(tmp_path):
    table = [row | {'task': task} for task in ('tfds:a/b', 'blur') for row in rows(seeds=2)]
    summary = summarise(table, reference='full')
    names = {path.name for path in figures.save_figures(tmp_path, summary, ('png',))}
    assert {'profiles.png', 'scores_by_shift.png', 'scores_by_arm_tfds_a_b.png'} <= names
    assert {path.name for path in tmp_path.iterdir()} == names


def test_redrawing_changes_no_byte(tmp_path, rich):
    task = rich['tasks'][0]
    for name in ('a.svg', 'b.svg'):
        figures.save_figure(figures_arms.scores_by_cost(task, rich), tmp_path / name)
    assert (tmp_path / 'a.svg').read_bytes() == (tmp_path / 'b.svg').read_bytes()


def test_intervals_and_means_are_where_the_numbers_say(rich):
    figure = figures_arms.scores_by_arm(rich['tasks'][0], rich)
    lines = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    head = rich['tasks'][0]['arms'][0]['mean']
    assert any(
        x == pytest.approx([100 * head['low'], 100 * head['high']]) for x in map(list, lines)
    )
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == list(LEVELS)


def test_labels_do_not_overlap():
    figure = style.new_figure(5, 4)
    axes = figure.add_subplot()
    # A tight cluster: at one fixed offset these labels would lie on each other.
    points = [(1.0, 1.0, 'first', 'k'), (1.01, 1.0, 'second', 'k'), (1.0, 1.02, 'third', 'k')]
    axes.set(xlim=(0, 2), ylim=(0, 2))
    style.place_labels(axes, points)
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 3
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_pareto_front_by_hand():
    points = [(3, 0.9), (1, 0.5), (2, 0.4), (3, 0.95), (4, 0.95)]
    assert figures_arms.pareto_front(points, True) == [1, 3]
    assert figures_arms.pareto_front(points, False) == [1, 2]
    assert figures_arms.pareto_front([], True) == []
