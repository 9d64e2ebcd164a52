"""What the audit proposes, a row an example: audit.csv, audit.json and the cleaned index."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

from ftjax.data.audit.examples import NAMES
from ftjax.data.audit.finding import SEVERITIES
from ftjax.data.audit.measures.keys import content_keys
from ftjax.data.audit.quick import Audit
from ftjax.data.exclude import ACTIONS, COLUMNS, index_rows
from ftjax.data.user_paths import existing_file
from ftjax.printable import in_spreadsheet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One example of one finding."""

    split: str
    """That of the source: train where a split was cut from its training examples."""
    id: str
    action: str
    label: str = ''
    """The label that is proposed."""
    used_as: str
    """The split of the run: train, val or test."""
    check: str
    severity: str
    given: str = ''
    """The label as it is."""
    partner: str = ''
    """`test 3.jpg`: the example that this one is a copy of."""
    detail: str = ''
    content: str = ''
    """The first 16 digits of a hash of the input: of a file its SHA-256."""


_TOLD_ONLY = frozenset({'EXIF rotation', 'mixed modes', 'cut texts'})
# Checks that propose nothing: audits wrote rows of them that say keep, which no user decided.

FIELDS = tuple(field.name for field in dataclasses.fields(Record))


def records(audit: Audit, broken: Iterable[tuple[str, str, str]] = ()) -> list[Record]:
    """All rows of all findings, the gravest first; files that cannot be read before all."""
    examples, given = audit.examples, audit.examples.splits.given
    found = [
        Record(
            split=_source(name, given),
            id=i,
            action='drop',
            used_as=name,
            check='broken files',
            severity='error',
            detail=why,
        )
        for name, i, why in broken
    ]
    contents = _contents(audit)
    for finding in audit.findings:
        for row in finding.rows:
            name = NAMES[examples.split[row.position]]
            found.append(
                Record(
                    split=_source(name, given),
                    id=examples.id(row.position),
                    action=row.action,
                    label=row.label,
                    used_as=name,
                    check=finding.check,
                    severity=finding.severity,
                    given=examples.label(row.position),
                    partner='' if row.partner is None else examples.named(row.partner),
                    detail=row.detail,
                    content=contents[row.position],
                )
            )
    return found


def cleaned_index(found: Sequence[Record]) -> list[Record]:
    """One record an example, for `data.exclude`: the strongest action that any check proposes."""
    chosen: dict[tuple[str, str], Record] = {}
    for record in sorted(found, key=_strength):
        chosen.setdefault(_place(record), record)
    return sorted(chosen.values(), key=lambda one: (NAMES.index(one.split), one.id))


def earlier_records(file: str) -> list[Record]:
    """All rows of the index that the audited data obey (`data.exclude`); [] for ''."""
    rows = index_rows(existing_file(file, 'data.exclude'), NAMES) if file else {}
    return [
        Record(
            **{name: row[name] for name in COLUMNS},
            used_as=split,
            check=row.get('check', ''),
            severity=SEVERITIES[-1],
            partner=row.get('partner', ''),
            detail=row.get('detail', ''),
        )
        for split, found in rows.items()
        for _, row in found
    ]


def with_earlier(found: Iterable[Record], earlier: Sequence[Record]) -> list[Record]:
    """What a new index is made of: what is proposed now, and all that an earlier one says.

    Without the earlier rows what they left out would come back. An example whose earlier row says
    keep stays kept: its user has decided so. What the audit itself would keep is no proposal.
    """
    decided = [one for one in earlier if one.action == 'keep' and one.check not in _TOLD_ONLY]
    kept = {_place(record) for record in decided}
    proposed = [one for one in found if one.action != 'keep' and _place(one) not in kept]
    return [*proposed, *earlier]


def csv_text(found: Sequence[Record], fields: Sequence[str] = FIELDS) -> str:
    """A CSV file of records, of which no spreadsheet takes a cell for a formula."""
    out = io.StringIO(newline='')
    table = csv.writer(out, lineterminator='\n')
    table.writerow(fields)
    table.writerows(
        [in_spreadsheet(getattr(record, field)) for field in fields] for record in found
    )
    return out.getvalue()


def index_text(found: Sequence[Record]) -> str:
    """The cleaned index as a file that `data.exclude` takes."""
    return csv_text(cleaned_index(found), (*COLUMNS, 'check', 'partner', 'detail'))


def to_json(audit: Audit, found: Sequence[Record], more: dict[str, Any]) -> dict[str, Any]:
    """audit.json: leaks, findings with their numbers, and all records."""
    told = [
        {
            'check': one.check,
            'severity': one.severity,
            'message': one.message,
            'examples': len(one.rows),
            **({} if one.measured is None else {'measured': one.measured}),
        }
        for one in audit.findings
    ]
    sizes = {name: len(part) for name, part in zip(NAMES, audit.examples.parts, strict=True)}
    return {
        'splits': sizes,
        'leaks': audit.leaks(),
        'findings': told,
        'seconds': round(audit.seconds, 2),
        **more,
        'records': [dataclasses.asdict(record) for record in found],
    }


def _contents(audit: Audit) -> list[str]:
    found = []
    for _, part, _ in audit.examples.blocks():
        keys = content_keys(part) or [''] * len(part)
        hashed = part.kind == 'image_file'
        found += [str(key) if hashed else _short(key) for key in keys]
    return [one[:16] for one in found]


def _short(key: bytes | str) -> str:
    key = key if isinstance(key, bytes) else key.encode('utf-8', 'surrogatepass')
    return hashlib.blake2b(key, digest_size=8).hexdigest() if key else ''


def _place(record: Record) -> tuple[str, str]:
    """Which example: ids of an earlier index are as a spreadsheet takes them."""
    return record.split, in_spreadsheet(record.id)


def _source(name: str, given: Sequence[str]) -> str:
    return name if name in given else 'train'


def _strength(record: Record) -> tuple[int, int]:
    return ACTIONS.index(record.action), SEVERITIES.index(record.severity)
