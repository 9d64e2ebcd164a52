"""The part of the audit before every run: what costs less than a second of it."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from ftjax.data.audit.examples import NAMES, Examples
from ftjax.data.audit.finding import Finding
from ftjax.data.audit.findings.class_counts import class_findings
from ftjax.data.audit.findings.copy_findings import copy_findings
from ftjax.data.audit.findings.groups import group_findings
from ftjax.data.audit.measures.duplicates import Duplicates, find_duplicates
from ftjax.data.dataset import Splits

_LISTED = 20
"""Ids of examples that a result names for each finding; the audit's own files hold all."""


@dataclasses.dataclass(frozen=True, eq=False)
class Audit:
    """What is to be known of splits before they are trained on."""

    examples: Examples
    duplicates: Duplicates
    findings: tuple[Finding, ...]
    seconds: float

    def leaks(self) -> dict[str, dict[str, int | None]]:
        """Of each held-out split that there is: examples, and those that stand in training too.

        `exact`: the same input. `near`: a near copy, and not the same; None where near copies
        were not looked for. And what its kind of labels tells: `shared_with_training`.
        """
        train = self.examples.parts[0]
        found: dict[str, dict[str, int | None]] = {}
        for split in (1, 2):
            part = self.examples.parts[split]
            if len(part):
                exact, near = self.duplicates.leaks(self.examples, split)
                found[NAMES[split]] = {
                    'n': len(part),
                    'exact': len(exact) if self.duplicates.compared else None,
                    'near': len(near) if self.duplicates.looked_near else None,
                    **part.label_kind.shared_with_training(train.inputs, part.inputs),
                }
        return found

    def leaked(self, split: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions, in a held-out split, of examples that stand in training: (same, near)."""
        before = self.examples.starts[split]
        exact, near = self.duplicates.leaks(self.examples, split)
        return exact - before, near - before

    def to_json(self) -> dict[str, Any]:
        """For result.json: leaks, and findings with the ids of their first examples."""
        found = [
            {
                'check': one.check,
                'severity': one.severity,
                'message': one.message,
                'count': len(one.rows),
                'examples': [self.examples.named(row.position) for row in one.rows[:_LISTED]],
            }
            for one in self.findings
        ]
        return {'leaks': self.leaks(), 'findings': found, 'seconds': round(self.seconds, 3)}


def quick_audit(splits: Splits) -> Audit:
    """Classes, copies and groups of splits; what takes longer is in `scripts/audit.py`.

    Of windows (data.sliding) it is the images that they were cut from. What was found is kept as
    long as the splits are.

    Raises:
      UserError: for a file that cannot be read.
    """
    splits = splits.whole or splits
    # Kept in the splits themselves, and not in a table of them: so it goes when they go.
    kept = vars(splits)
    if '_audit' not in kept:
        started = time.perf_counter()
        examples = Examples(splits)
        duplicates = find_duplicates(examples)
        findings = (
            *class_findings(examples),
            *copy_findings(examples, duplicates),
            *group_findings(splits),
        )
        kept['_audit'] = Audit(examples, duplicates, findings, time.perf_counter() - started)
    return kept['_audit']


def leak_line(audit: Audit) -> str:
    """`also in training: val 0 exact, 0 near · test 3 exact, 1 near`; '' without such splits."""
    found = []
    for name, counts in audit.leaks().items():
        if counts['exact'] is None:
            found.append(f'{name} not compared')
        else:
            near = 'near not looked for' if counts['near'] is None else f'{counts["near"]:,} near'
            found.append(f'{name} {counts["exact"]:,} exact, {near}')
        if counts.get('positives_in_training') is not None:
            found[-1] += f', {counts["positives_in_training"]:,} of {counts["n"]:,} positives'
    why = audit.duplicates.why_not
    more = f' ({why})' if why and found else ''
    return f'also in training: {" · ".join(found)}{more}' if found else ''
