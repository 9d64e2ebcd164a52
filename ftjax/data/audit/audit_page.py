"""audit.html: what was found, the gravest first, with the examples side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from ftjax.data.audit.examples import NAMES, Examples
from ftjax.data.audit.finding import SEVERITIES, Finding, Row
from ftjax.data.audit.full import Opened, broken_finding
from ftjax.data.audit.quick import Audit, leak_line
from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import decode, resize_array
from ftjax.data.images.geometry import Geometry, match_channels
from ftjax.pages.elements import data_address, facts, paragraph, section, table
from ftjax.pages.page import page
from ftjax.printable import in_html

SHOWN = 24
"""Examples of a finding that the page shows; audit.csv holds all."""
_LETTERS = 400
_SIDE = 112


def audit_page(audit: Audit, opened: Opened, source: str) -> str:
    """The page; images are shown at 112 pixels, texts at their first 400 characters."""
    splits = audit.examples.splits
    broken = broken_finding(opened.broken)
    findings = [*([broken] if broken else []), *audit.findings]
    worst = {name: sum(one.severity == name for one in findings) for name in SEVERITIES}
    told = ', '.join(f'{count} {name}{"s" if count != 1 else ""}' for name, count in worst.items())
    sizes = ', '.join(
        f'{name} {len(part):,}' for name, part in zip(NAMES, audit.examples.parts, strict=True)
    )
    head = [
        f'<h1>Data audit: {in_html(splits.train.name.rpartition(" ")[0])}</h1>',
        paragraph(told, 'answer'),
        facts(
            {
                'examples': sizes,
                'stands twice': leak_line(audit) or 'no held-out split',
                'features': source,
                'seconds': f'{audit.seconds:.1f}',
            }
        ),
    ]
    counts = [len(opened.broken) if one is broken else len(one.rows) for one in findings]
    rows = [
        (one.message, one.check, one.severity, f'{count:,}')
        for one, count in zip(findings, counts, strict=True)
    ]
    overview = table(('finding', 'check', 'severity', 'examples'), rows) if rows else ''
    return page(
        'Data audit',
        [
            *head,
            section('Findings', overview or paragraph('Nothing was found.')),
            *(_section(audit.examples, one) for one in audit.findings if one.rows),
        ],
    )


def _section(examples: Examples, finding: Finding) -> str:
    shown = finding.rows[:SHOWN]
    more = len(finding.rows) - len(shown)
    rest = paragraph(f'{more:,} more in audit.csv', 'legend') if more else ''
    texts = ' texts' if examples.splits.train.kind in ('text', 'table') else ''
    cards = ''.join(_card(examples, row) for row in shown)
    return section(
        f'{finding.check} ({finding.severity})',
        f'{paragraph(finding.message)}<div class="examples{texts}">{cards}</div>{rest}',
    )


def _card(examples: Examples, row: Row) -> str:
    """An example, and beside it what it is a copy of."""
    positions = [row.position, *([] if row.partner is None else [row.partner])]
    parts = [_content(examples, position) for position in positions]
    told = {'example': examples.named(row.position), 'label': examples.label(row.position)}
    if row.partner is not None:
        told |= {'copy of': examples.named(row.partner), 'its label': examples.label(row.partner)}
    told |= {'proposed': f'{row.action} {row.label}'.strip(), 'measured': row.detail}
    listed = ''.join(
        f'<dt>{in_html(name)}</dt><dd>{in_html(value)}</dd>'
        for name, value in told.items()
        if value
    )
    return f'<div class="example">{"".join(parts)}<dl>{listed}</dl></div>'


def _content(examples: Examples, position: int) -> str:
    part, at = examples.place(position)
    if part.kind == 'text':
        given = part.inputs[at]
        texts: Sequence[str] = [given] if isinstance(given, str) else list(given)
        return ''.join(f'<blockquote>{in_html(text[:_LETTERS])}</blockquote>' for text in texts)
    if part.kind == 'table':
        return f'<blockquote>{in_html(part.inputs.told(at))}</blockquote>'
    pixels = _pixels(part, at)
    if pixels is None:
        return ''
    return f'<img alt="{in_html(examples.id(position))}" src="{_address(pixels)}">'


def _pixels(part: Dataset, at: int) -> np.ndarray | None:
    """uint8 (112, 112, 3), squashed: copies of another shape look the same."""
    geometry = Geometry(height=_SIDE, width=_SIDE, channels=3, interpolation='box', squash=True)
    if part.kind == 'image_file':
        return decode(part.inputs[at], geometry, whites=part.whites)
    if part.kind == 'tfds':
        return part.inputs.image(at, geometry, str(part.ids[at]), part.whites)
    if part.kind != 'image':
        return None
    image = part.inputs[at]
    image = image if image.dtype == np.uint8 else (image * 255).round().astype(np.uint8)
    image = match_channels(image if image.shape[-1] in (1, 3) else image[..., :1], 3)
    height, width = image.shape[:2]
    return image if max(height, width) <= _SIDE else resize_array(image, geometry)


def _address(pixels: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', quality=85)
    return data_address(file.getvalue(), 'image/jpeg')
