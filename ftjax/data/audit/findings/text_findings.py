"""Texts that are damaged, empty, placeholders, cut short, or of another script than the rest."""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from ftjax.data.audit.examples import Examples
from ftjax.data.audit.finding import Finding, Row, counted
from ftjax.data.audit.measures.keys import normalised

PLACEHOLDERS = frozenset(('na', 'n a', 'nan', 'null', 'none', 'nil', 'unknown', 'missing', 'tbd'))
_NO_WORD = re.compile(r'[\W_]+')
_REPLACED = '\ufffd'
_BEYOND_ASCII = re.compile(r'[^\x00-\x7f]+')
_TOLERANT = {'\x81', '\x8d', '\x8f', '\x90', '\x9d'}  # Windows-1252 leaves these bytes out


def text_findings(
    examples: Examples, lost: np.ndarray | None = None, longest: int = 0
) -> Iterator[Finding]:
    """Findings on texts.

    Args:
      examples: all of them.
      lost: bool (n,), whether each lost tokens; None where no tokenizer is at hand.
      longest: tokens that the network sees of one.
    """
    texts = [
        text if isinstance(text, str) else '\n'.join(text)
        for _, part, _ in examples.blocks()
        for text in part.inputs
    ]
    every = range(len(texts))
    replaced = [i for i in every if _REPLACED in texts[i]]
    if replaced:
        yield Finding(
            'replacement characters',
            'error',
            f'{counted(len(replaced), "text holds", "texts hold")} U+FFFD: letters were lost as '
            'they were decoded; read the source again with the right data.encoding',
            tuple(Row(i, 'review', detail=_around(texts[i], _REPLACED)) for i in replaced),
        )
    repaired = {i: found for i in every if (found := repaired_text(texts[i])) is not None}
    if repaired:
        yield Finding(
            'mojibake',
            'error',
            f'{counted(len(repaired), "text is", "texts are")} UTF-8 that was read as Windows-1252'
            ' or Latin-1',
            tuple(
                Row(i, 'review', detail=f'{found[:80]!r} was meant')
                for i, found in repaired.items()
            ),
        )
    words = [normalised(text) for text in texts]
    blank = [i for i in every if not words[i]]
    if blank:
        yield Finding(
            'empty texts',
            'error',
            counted(len(blank), 'text is empty', 'texts are empty'),
            tuple(Row(i, 'drop') for i in blank),
        )
    wordless = [i for i in every if words[i] and not any(map(str.isalnum, words[i]))]
    if wordless:
        yield Finding(
            'texts without words',
            'note',
            f'{counted(len(wordless), "text has", "texts have")} neither letters nor digits',
            tuple(Row(i, 'review', detail=repr(texts[i][:80])) for i in wordless),
        )
    bare = [_NO_WORD.sub(' ', each).strip() for each in words]  # '<NA>' is one too
    stand_ins = [i for i in every if bare[i] in PLACEHOLDERS]
    if stand_ins:
        yield Finding(
            'placeholders',
            'warning',
            f'{counted(len(stand_ins), "text stands", "texts stand")} for a missing value '
            f'({", ".join(sorted({bare[i] for i in stand_ins})[:3])})',
            tuple(Row(i, 'drop', detail=texts[i]) for i in stand_ins),
        )
    if lost is not None:
        cut = np.flatnonzero(lost)
        if len(cut):
            yield Finding(
                'cut texts',
                'warning' if len(cut) > 0.1 * len(texts) else 'note',
                f'{len(cut):,} of {len(texts):,} texts ({len(cut) / len(texts):.1%}) exceed '
                f'{longest} tokens, and what exceeds them is cut off (data.max_length)',
                tuple(Row(int(i), 'keep') for i in cut),
                measured=len(cut) / len(texts),
            )
    yield from _scripts(texts)


def repaired_text(text: str) -> str | None:
    """A text whose UTF-8 was read as Windows-1252 or Latin-1, as it was meant; None if it was not.

    A capital before a closing quote (ß“) may be the two bytes of a letter by chance: a single one
    that is not of European Latin says nothing.

    >>> repaired_text('caf\u00c3\u00a9'), repaired_text('caf\u00e9'), repaired_text('plain')
    ('caf\u00e9', None, None)
    """
    likely = False

    def meant(match: re.Match[str]) -> str:
        nonlocal likely
        piece = match[0]
        for encoding in ('cp1252', 'latin-1'):
            try:
                kept = b''.join(
                    letter.encode('latin-1') if letter in _TOLERANT else letter.encode(encoding)
                    for letter in piece
                )
                better = kept.decode('utf-8')
            except UnicodeError:
                continue
            likely = likely or _no_chance(better)
            return better
        return piece

    repaired = _BEYOND_ASCII.sub(meant, text)
    return repaired if likely else None


def _no_chance(better: str) -> bool:
    """Whether what was repaired is more than a single letter beyond those of European Latin."""
    letters = [
        letter for letter in better if letter > '\u017f' and unicodedata.category(letter)[0] in 'LM'
    ]
    return len(letters) != 1 or len(better) > 1


def script_of(text: str) -> str:
    """The script of most letters of a text: 'LATIN', 'CYRILLIC', ..; '' without letters.

    >>> script_of('\u043c\u0438\u0440 ok'), script_of('42')
    ('CYRILLIC', '')
    """
    if text.isascii():
        return 'LATIN' if any(map(str.isalpha, text)) else ''
    found = collections.Counter(
        unicodedata.name(letter, '?').split(' ')[0] for letter in text if letter.isalpha()
    )
    return found.most_common(1)[0][0] if found else ''


def _scripts(texts: Sequence[str]) -> Iterator[Finding]:
    of = [script_of(text) for text in texts]
    counts = collections.Counter(script for script in of if script)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    listed = ', '.join(f'{script.capitalize()} {n:,}' for script, n in counts.most_common(5))
    yield Finding(
        'several scripts',
        'note',
        f'texts are of several scripts: {listed}',
        tuple(
            Row(i, 'review', detail=script.capitalize())
            for i, script in enumerate(of)
            if script and script != usual
        ),
    )


def _around(text: str, letter: str) -> str:
    at = text.index(letter)
    return repr(text[max(0, at - 20) : at + 20])
