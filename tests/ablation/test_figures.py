"""Figures are drawn from what the summary holds, and labels keep clear of each other."""

import numpy as np
import pytest

from ftjax.ablation.report import (
    figures,
    figures_arms,
    figures_differences,
    figures_front,
    figures_rates,
    figures_shifts,
)
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
        'shifts': {'blur': {'accuracy': 0.4, 'n': 9}, 'noise': {'accuracy': 0.5, 'n': 9}},
    }
    table = rows(**extra)
    table[2]['status'] = 'diverged'
    return summarise(table, reference='full')


def test_every_figure_is_drawn_where_its_numbers_exist(rich):
    assert [drawn.name for drawn in figures.draw(rich)] == [
        'differences_by_arm',
        'scores_by_arm',
        'differences_by_cost',
        'shift_lines',
        'in_out_plane',
        'depth_curve',
        'rate_curves',
        'movement',
    ]


@pytest.mark.parametrize('tried', [(1e-3, 2e-3, 4e-3), (1e-4, 1e-2, 1.0)])
def test_an_axis_of_rates_has_ticks(tried):
    summary = summarise(rows(rates=tried), reference='full')
    figure = figures_rates.rate_curves(summary['tasks'][0], summary)
    figure.draw_without_rendering()
    shown = [axes for axes in figure.axes if axes.get_visible()][-1]
    (low, high), labels = shown.get_xlim(), shown.get_xticklabels()
    assert sum(bool(each.get_text()) and low < each.get_position()[0] < high for each in labels) > 1


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


def test_names_of_figures_are_unique():
    found = figures.endings_of(['a b', 'a/b', 'a_b_2', 'a=b', 'c'])
    assert found == ['_a_b', '_a_b_2', '_a_b_2_2', '_a_b_3', '_c']
    table = [row | {'task': task} for task in ('a/b', 'a b') for row in rows(2, rates=(1e-3,))]
    names = [drawn.name for drawn in figures.draw(summarise(table, reference='full'))]
    assert 'scores_by_arm_a_b_2' in names and len(set(names)) == len(names)


def test_redrawing_changes_no_byte(tmp_path, rich):
    task = rich['tasks'][0]
    for name in ('a.svg', 'b.svg'):
        figures.save_figure(figures_front.differences_by_cost(task, rich), tmp_path / name)
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


def test_names_of_axes_stand_within_the_figure():
    title = 'nll'  # the longest of all metrics
    table = rows(step_seconds_median=0.01, step_flops=1e9, movement={'stem': 0.0, 'head': 0.5})
    for row in table:
        row['val'], row['test'] = {title: 1.0}, {title: 1.0 + 0.1 * row['seed']}
        row['shifts'] = {'documentation': {title: 2.0, 'n': 9}}
    drawn = list(figures.draw(summarise(table, reference='full', metric=title)))
    assert 'in_out_plane' in [one.name for one in drawn]
    for one in drawn:
        one.figure.draw_without_rendering()
        width, height = one.figure.bbox.size
        for axes in one.figure.axes:
            for label in filter(lambda one: one.get_text(), (axes.xaxis.label, axes.yaxis.label)):
                box = label.get_window_extent()
                assert box.x0 > -1 and box.x1 < width + 1, (one.name, label.get_text())
                assert box.y0 > -1 and box.y1 < height + 1, (one.name, label.get_text())


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
    assert figures_front.pareto_front(points, True) == [1, 3]
    assert figures_front.pareto_front(points, False) == [1, 2]
    assert figures_front.pareto_front([], True) == []


def test_differences_are_ranked_and_one_far_off_stands_at_the_border(rich):
    task = rich['tasks'][0]
    figure = figures_differences.differences_by_arm(task, rich)
    axes = figure.axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    estimates = {
        arm['arm']: arm['difference']['interval'] for arm in task['arms'] if arm['difference']
    }
    assert names == sorted(estimates, key=lambda name: -estimates[name]['estimate'])
    assert names[0] == 'last:2' and names[-1] == 'scratch'
    low, high = axes.get_xlim()
    assert low > 100 * estimates['scratch']['high']  # 50 points off
    for name in names[:-1]:
        assert low < 100 * estimates[name]['low'] < 100 * estimates[name]['high'] < high
    labels = ' '.join(text.get_text() for text in axes.texts)
    assert '−50' in labels or '−49' in labels


def test_limits_hold_zero_and_all_but_what_is_far_off():
    near = [{'estimate': e, 'low': e - 0.02, 'high': e + 0.02} for e in (-0.01, 0.0, 0.03)]
    far = {'estimate': -0.5, 'low': -0.52, 'high': -0.48}
    low, high = figures_differences.limits([*near, far])
    assert -0.05 < low < -0.03 and 0.05 < high < 0.06
    assert figures_differences.limits([far])[0] < -0.52


def test_out_of_distribution_is_the_mean_over_sets_seed_by_seed(rich):
    arm = rich['tasks'][0]['arms'][0]
    found = figures_shifts.out_of_distribution(arm, ['blur', 'noise'], 0.95)
    assert found['estimate'] == pytest.approx(0.45) and found['n'] == 3
    assert figures_shifts.test_sets(rich['tasks'][0]) == ['blur', 'noise']


def test_intervals_out_of_distribution_allow_for_folds():
    rng = np.random.default_rng(0)
    table = rows(seeds=10, shifts={})
    for row in table:
        row['shifts'] = {'blur': {'accuracy': rng.uniform(0.4, 0.5), 'n': 9}}
    heights = []
    for folds in (0, 5):
        summary = summarise(table, reference='full', folds=folds)
        axes = figures_shifts.in_out_plane(summary['tasks'][0], summary).axes[0]
        heights.append([np.ptp(line.get_ydata()) for line in axes.lines[1::3]])
    # s^2 (1/n + 1/4) over s^2/n, with 10 of them.
    np.testing.assert_allclose(heights[1], np.sqrt(1 + 10 / 4) * np.array(heights[0]))


def test_fifty_arms_are_drawn_and_few_are_named():
    rng = np.random.default_rng(1)
    table = [
        {
            'arm': f'arm {place}',
            'rate': 1e-3,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': 0.5},
            'test': {'accuracy': 0.7 + 0.01 * rng.normal()},
            'step_seconds_median': 0.01 * (place + 1),
        }
        for place in range(50)
        for seed in range(3)
    ]
    summary = summarise(table, reference='arm 49')
    figure = figures_front.differences_by_cost(summary['tasks'][0], summary)
    assert 1 < len(figure.axes[0].texts) <= figures_front.NAMED + 6
    ranked = figures_differences.differences_by_arm(summary['tasks'][0], summary)
    assert len(ranked.axes[0].get_yticklabels()) == 49 and ranked.get_figheight() < 13


@pytest.mark.parametrize(('joint', 'drawn'), [((), 'abc'), (('b',), 'ac'), (('a', 'b'), 'ab')])
def test_times_of_joint_programs_are_not_drawn_beside_others(joint, drawn):
    table = [
        {
            'arm': arm,
            'rate': 1e-3,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': 0.5},
            'test': {'accuracy': 0.7 + 0.01 * seed * place},
            'step_seconds_median': 0.01 * (place + 1),
            'params_trainable': 10 + place,
        }
        for place, arm in enumerate('abc')
        for seed in range(3)
    ]
    summary = {**summarise(table, reference='a'), 'vectorised': list(joint)}
    figure = figures_front.differences_by_cost(summary['tasks'][0], summary)
    times, sizes = figure.axes
    named = [{text.get_text() for text in axes.texts} & set('abc') for axes in (times, sizes)]
    assert named == [set(drawn), set('abc')]
    assert ('Times not drawn' in times.get_title(loc='left')) == bool(joint)


def test_a_profile_of_fifty_arms_has_room_for_its_legend_and_tells_them_apart():
    found = {'metric': 'accuracy', 'higher_is_better': True, 'tasks': [{'arms': []}]}
    arms = found['tasks'][0]['arms']
    for place in range(50):
        profile = {'thresholds': [0.0, 0.02 * place, 1.0], 'share': [1.0, 0.5, 0.0]}
        arms.append({'arm': f'arm {place}', 'profile': profile})
    figure = figures_rates.profiles({**found, 'overall': {'arms': arms}})
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().height < figure.bbox.height
    # Matplotlib tells of dashes given by their lengths no more than that they are dashes.
    lines = figure.axes[0].lines[:40]
    assert len({(one.get_color(), one.get_linestyle()) for one in lines}) == 40
    assert len({*style.line_styles(arms).values()}) == 5
    few = figures_rates.profiles({**found, 'overall': {'arms': arms[:5]}})
    assert few.get_figheight() == 4.0


def test_the_curve_over_depths_takes_one_arm_a_depth():
    found = rows()
    lower = [
        {**row, 'arm': 'last:1, own rate', 'test': {'accuracy': row['test']['accuracy'] - 0.2}}
        for row in found
        if row['arm'] == 'last:1'
    ]
    summary = summarise([*found, *lower], reference='full')
    task = summary['tasks'][0]
    assert sum(arm['depth'] == 1 for arm in task['arms']) == 2
    line = figures_arms.depth_curve(task, summary).axes[0].lines[0]
    assert list(line.get_xdata()) == [0.0, 1.0, 2.0, 3.0]
    of_last = next(arm for arm in task['arms'] if arm['arm'] == 'last:1')
    assert line.get_ydata()[1] == pytest.approx(100 * of_last['mean']['estimate'])


def test_labels_are_not_put_beside_a_nearer_point_without_a_name():
    figure = style.new_figure(4, 3)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    crowd = [(5 + dx, 5 + dy, '', 'grey') for dx in (-0.8, 0.8) for dy in (-0.5, 0.5)]
    style.place_labels(axes, [(5, 5, 'named', 'black'), *crowd])
    (label,) = axes.texts
    assert label.get_text() == 'named'
    # It stands further off, and a line joins it to its point.
    assert label.arrow_patch is not None
