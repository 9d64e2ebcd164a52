"""The identity of a run's inputs, as its files hold it: how two of them differ, in words.

{'data': .., 'weights': .., 'code': .., 'commit': .., 'dirty': .., 'versions': ..}; see
ftjax/runs/identity.py, which takes it. What is compared may come from a file: it can be
of any type.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from ftjax.io.json.json_values import JsonObject

INPUTS = ('data', 'weights', 'code')
"""What a result is a function of: under others, a run goes on only if that is asked for."""
FILE = 'identity_changes.jsonl'
"""The file that lists the identities a folder was made under, if more than one."""
SAME_DRAW = 2e-3
"""Sketches of one draw of random numbers differ by rounding, those of two draws by about 1."""
_WEIGHTS = {
    'loaded': 'the pretrained weights',
    'random': 'the weights that are drawn at random',
    'importance': 'the importance of weights for previous tasks',
    'network': 'the network that the checkpoint describes',
    'preprocessing': "the checkpoint's preprocessing",
}


def flag(kind: str) -> str:
    """The flag that goes on under another identity.

    >>> flag('data')
    '--allow_data_change'
    """
    return f'--allow_{kind}_change'


def differences(before: object, after: object) -> dict[str, list[str]]:
    """What differs, in words, by kind: 'data', 'weights', 'code', 'versions'.

    Only fields that both have are compared.

    >>> differences({'data': {'train': 'a', 'test': 'b'}}, {'data': {'train': 'a', 'test': 'c'}})
    {'data': ['the test split']}
    """
    found = {
        'data': _data(before, after),
        'weights': _weights(part(before, 'weights'), part(after, 'weights')),
        'code': _code(before, after),
        'versions': _versions(before, after),
    }
    return {kind: words for kind, words in found.items() if words}


def refused(changes: Mapping[str, Sequence[str]], allowed: Collection[str]) -> str:
    """What differs and was not allowed to, as half a sentence; '' for nothing.

    >>> refused({'data': ['the test split'], 'versions': ['jax 1, was 2']}, ())
    'the test split differs'
    """
    words = [word for kind in INPUTS if kind not in allowed for word in changes.get(kind, ())]
    verb = 'differs' if len(words) == 1 and not words[0].endswith('s') else 'differ'
    return f'{joined(words)} {verb}' if words else ''


def flags_for(changes: Mapping[str, object], allowed: Collection[str] = ()) -> str:
    """The flags that allow it to continue."""
    return ' '.join(flag(kind) for kind in INPUTS if kind in changes and kind not in allowed)


def joined(words: Sequence[str]) -> str:
    """Words as a list, the first of them where they are many."""
    shown = [*words[:4], f'{len(words) - 4} more'] if len(words) > 5 else list(words)
    return ', '.join(shown[:-1]) + (' and ' if shown[:-1] else '') + shown[-1]


def part(identity: object, name: str) -> JsonObject:
    """A part of an identity; {} where a file holds none or something else."""
    found = identity.get(name) if isinstance(identity, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def _data(before: object, after: object) -> list[str]:
    old, new = part(before, 'data'), part(after, 'data')
    if not old and isinstance(before, Mapping) and 'data_fingerprint' in before:
        # Of an earlier version, which took another hash of files.
        same = before['data_fingerprint'] == new.get('all') or new.get('kind') in (
            'image_file',
            'tfds',
        )
        return [] if same else ['the data']
    if not old or not new:
        return []
    words = [
        f'the {name} split' for name in ('train', 'val', 'test') if old.get(name) != new.get(name)
    ]
    both = old.get('unlabelled'), new.get('unlabelled')
    if all(both) and both[0] != both[1]:
        words.append('the set of unlabelled examples')
    further = part(old, 'further'), part(new, 'further')
    for name in sorted(further[0].keys() & further[1].keys()):
        if further[0][name] != further[1][name]:
            words.append(f'the further test set {name!r}')
    columns = part(old, 'columns'), part(new, 'columns')
    both_have = sorted(columns[0].keys() & columns[1].keys())
    changed = [name for name in both_have if columns[0][name] != columns[1][name]]
    words += [f'the column of the loss {name!r}' for name in changed]
    return ['all three splits', *words[3:]] if words[:3] == _ALL_SPLITS else words


_ALL_SPLITS = ['the train split', 'the val split', 'the test split']


def _weights(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    both = [name for name in _WEIGHTS if name in old and name in new]
    return [
        _WEIGHTS[name]
        for name in both
        if not (_same_draw if name == 'random' else _equal)(old[name], new[name])
    ]


def _equal(one: object, other: object) -> bool:
    return one == other


def _same_draw(one: object, other: object) -> bool:
    """Whether two sketches are of the same random numbers."""
    if not (isinstance(one, list) and isinstance(other, list) and len(one) == len(other)):
        return False
    numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in (*one, *other))
    return numbers and all(abs(a - b) < SAME_DRAW for a, b in zip(one, other, strict=True))


def _code(before: object, after: object) -> list[str]:
    told = [isinstance(x, Mapping) and isinstance(x.get('code'), Mapping) for x in (before, after)]
    old, new = part(before, 'code'), part(after, 'code')
    if not all(told) or not (old or new):
        return []
    parts = part(old, 'parts'), part(new, 'parts')
    names = sorted(parts[0].keys() | parts[1].keys())
    if old and new and any(old.get(key) != new.get(key) for key in ('python', 'rules')):
        # Another Python compiles the same code to other bytes, and other rules read more of it:
        # then whole files are compared, of those that both read.
        if parts[0] == parts[1]:
            return []
        parts = part(old, 'files'), part(new, 'files')
        names = sorted(parts[0].keys() & parts[1].keys())
    return [f'the code of {name}' for name in names if parts[0].get(name) != parts[1].get(name)]


def _versions(before: object, after: object) -> list[str]:
    old, new = part(before, 'versions'), part(after, 'versions')
    words = [
        f'{name} {new.get(name)} (was {old.get(name)})'
        for name in sorted(old.keys() | new.keys())
        if old and new and old.get(name) != new.get(name)
    ]
    commits = [one.get('commit') if isinstance(one, Mapping) else None for one in (before, after)]
    if all(commits) and commits[0] != commits[1]:
        words.append(f'commit {str(commits[1])[:12]} (was {str(commits[0])[:12]})')
    return words
