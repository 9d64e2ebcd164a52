"""Names with whole numbers in them, read in both directions: `block_{block:02d}/mlp`.

A placeholder matches a whole number, is written `{name}`, and may carry an offset and a width:
`stage{stage+1}_block{block}`, `block_{block:02d}`. Everything else is literal (no regular
expressions, dots are dots).
"""

from __future__ import annotations

import functools
import re

_PLACEHOLDER = re.compile(r'\{([a-z_]+)([+-]\d+)?(?::(0\d+d))?\}')


class Template:
    """A name with whole numbers in it, read and written.

    >>> Template('block_{block:02d}/mlp').write({'block': 3})
    'block_03/mlp'
    >>> Template('layer.{block}.mlp').read('layer.11.mlp')
    {'block': 11}
    """

    def __init__(self, text: str):
        self.text = text
        self._fields = [
            (name, int(offset or 0), spec) for name, offset, spec in _PLACEHOLDER.findall(text)
        ]
        literals = _PLACEHOLDER.split(text)[:: _PLACEHOLDER.groups + 1]
        self._regex = re.compile(r'(\d+)'.join(re.escape(literal) for literal in literals))

    @property
    def names(self) -> set[str]:
        """The placeholders' names."""
        return {name for name, _, _ in self._fields}

    def write(self, numbers: dict[str, int]) -> str:
        """The name for these numbers."""
        return _PLACEHOLDER.sub(
            lambda found: format(numbers[found[1]] + int(found[2] or 0), found[3] or 'd'),
            self.text,
        )

    def read(self, name: str) -> dict[str, int] | None:
        """The numbers in `name`; None if `name` is not of this form."""
        found = self._regex.fullmatch(name)
        if found is None:
            return None
        values = zip(self._fields, found.groups(), strict=True)
        numbers = {field: int(text) - offset for (field, offset, _), text in values}
        # Writing it back settles widths and a placeholder used twice with two values.
        return numbers if self.write(numbers) == name else None


@functools.cache
def template(text: str) -> Template:
    """The compiled template, kept: key maps are read once a tensor."""
    return Template(text)
