"""How numbers are written in tables, figures and reports: one place, so that they agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.tasks.metrics import as_metric


def scale_of(metric: str) -> float:
    """100 for metrics written in percent, else 1."""
    return 100.0 if as_metric(metric).percent else 1.0


def title_of(metric: str) -> str:
    """The metric's name for people, with its unit.

    >>> title_of('accuracy'), title_of('mse')
    ('accuracy (%)', 'MSE')
    """
    return as_metric(metric).label + (' (%)' if scale_of(metric) == 100 else '')


def headed(summary: JsonObject, split: str = 'test') -> str:
    """The split and the metric for axes and headers; the direction where lower is better.

    >>> headed({'metric': 'accuracy', 'higher_is_better': True})
    'test accuracy (%)'
    >>> headed({'val_metric': 'mse', 'higher_is_better': False}, 'validation')
    'validation MSE, lower is better'
    """
    of_val = split == 'validation'
    higher = summary['higher_is_better']
    higher = summary.get('val_higher_is_better', higher) if of_val else higher
    title = title_of(summary['val_metric' if of_val else 'metric'])
    return f'{split} {title}' + ('' if higher else ', lower is better')


def score(value: float | None, metric: str, signed: bool = False) -> str:
    """A score as written: percent with one decimal, anything else with four digits.

    >>> score(0.8234, 'accuracy'), score(-0.01, 'accuracy', signed=True), score(None, 'mse')
    ('82.3', '−1.0', '–')
    """
    if value is None or not math.isfinite(value):
        return '–'
    if scale_of(metric) == 100:
        text = f'{100 * value:+.1f}' if signed else f'{100 * value:.1f}'
    else:
        text = f'{value:+.4g}' if signed else f'{value:.4g}'
    return _minus(text)


def bounds(
    interval: Mapping[str, Any] | None, metric: str, signed: bool = False, clip: bool = False
) -> str:
    """An interval's bounds in brackets; a dash where there are none.

    Args:
      clip: cut at the metric's bounds: a t interval knows nothing of them, and the cut costs
        no coverage.
    """
    if interval is None or interval['low'] is None:
        return '–'
    low, high = interval['low'], interval['high']
    if clip:
        low, high = as_metric(metric).clipped(low), as_metric(metric).clipped(high)
    return f'[{score(low, metric, signed)}, {score(high, metric, signed)}]'


def count(value: float | None) -> str:
    """A number of things in three digits.

    >>> count(1234567), count(999700)
    ('1.23 M', '1 M')
    """
    if value is None:
        return '–'
    value = float(f'{value:.3g}')  # rounded first: it may need the next unit
    for size, unit in ((1e12, ' T'), (1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
        if abs(value) >= size:
            return f'{value / size:.3g}{unit}'
    return f'{value:.3g}'


def share(value: float | None) -> str:
    """A part of one in percent, small ones not rounded to nothing.

    >>> share(0.25), share(0.00042), share(0.0)
    ('25 %', '0.042 %', '0 %')
    """
    if value is None:
        return '–'
    if value == 0:
        return '0 %'
    return f'{100 * value:.2g} %' if value < 0.0995 else f'{100 * value:.0f} %'


def seconds(value: float | None) -> str:
    """A time with its unit: milliseconds below a second, minutes from two on.

    >>> seconds(0.9996), seconds(150.0), seconds(4e6)
    ('1 s', '2.5 min', '1111 h')
    """
    if value is None:
        return '–'
    value = float(f'{value:.4g}' if value >= 1000 else f'{value:.3g}')
    if value < 1:
        return f'{1000 * value:.3g} ms'
    if value < 120:
        return f'{value:.3g} s'
    if value < 7200:
        return f'{value / 60:.3g} min'
    hours = value / 3600
    return f'{hours:.3g} h' if hours < 999.5 else f'{hours:.0f} h'


def rate(value: float | None, edge: str | None = None) -> str:
    """A learning rate; an arrow says that it lies on the edge of what was tried.

    >>> rate(0.0003, 'low'), rate(None)
    ('0.0003 ↓', '–')
    """
    if value is None:
        return '–'
    return f'{value:.3g}' + {'low': ' ↓', 'high': ' ↑'}.get(edge or '', '')


def p_value(value: float | None) -> str:
    """A p value as papers write it."""
    if value is None:
        return '–'
    return '<0.001' if value < 0.001 else f'{value:.3f}'


def _minus(text: str) -> str:
    return text.replace('-', '−') if 'e' not in text else text
