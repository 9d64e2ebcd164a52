"""What was found of probabilities and of unfamiliar inputs, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.io.json.json_values import JsonObject


def reliability_lines(report: JsonObject) -> list[str]:
    """Lines of a `class_report`."""
    lines = []
    for name, said in (('plain', ''), ('calibrated', ' after temperature scaling')):
        if name in report:
            row = report[name]
            of = f'at {row["n"]:,} examples'
            if 'groups' in row:
                of += f' of {row["groups"]:,} groups'
            else:
                of = f'by chance alone {row["ece_if_calibrated"]:.4f} {of}'
            interval = ''
            if row['ece_interval'] is not None:
                low, high = row['ece_interval']
                interval = f', 95 % interval {low:.4f} to {high:.4f}'
            lines.append(
                f'calibration error{said} {row["ece"]:.4f}{interval} ({of}); '
                f'Brier score {row["brier"]:.4f}, log loss {row["log_loss"]:.4f}'
            )
    if 'temperature' in report:
        lines[-1] += f'; temperature {report["temperature"]:.4g}'
    if 'selective' in report:
        parts = [
            f'{row["accuracy"]:.3f} at {row["coverage"]:.0%}' for row in report['selective']['at']
        ]
        lines.append(f'accuracy on the surest share of examples: {", ".join(parts)}')
    for coverage, row in report.get('sets', {}).items():
        if coverage in ('0.9', '0.95'):
            lines.append(
                f'sets made to hold the class of {float(coverage):.0%}: hold it in '
                f'{row["coverage"]:.1%}, {row["mean_size"]:.2f} classes on average'
            )
    return lines


def separation_lines(found: Mapping[str, Any]) -> list[str]:
    """Lines of the AUROC of each score, between the test split and other inputs."""
    lines = []
    for name, row in found.items():
        low, high = row['auroc_interval']
        lines.append(
            f'told from the test split by {name}: AUROC {row["auroc"]:.3f}, 95 % interval '
            f'{low:.3f} to {high:.3f}'
        )
    return lines
