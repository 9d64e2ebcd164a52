"""Strategies by name, and the strings that combine them: `last:4+llrd:0.75`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ftjax import registry
from ftjax.errors import UserError, check_name
from ftjax.io.json.json_values import JsonObject
from ftjax.ranges import Range
from ftjax.registry import Part, Term

KINDS = {
    'mask': 'which leaves train',
    'rates': 'how fast each leaf moves',
    'shape': 'the rate over time',
    'schedule': 'what trains when',
    'data_driven': 'decided from data',
    'adapter': 'new parameters on a frozen trunk',
    'regulariser': 'a penalty on the distance from the pretrained weights',
    'average': 'an average of the weights along the way',
    'weights': 'what is done with the weights afterwards',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strategy:
    """What a plan must know of a strategy besides its function: the `details` of its part."""

    kind: str
    """What it decides, a key of KINDS: this says what its function takes and returns."""
    norm: str | None = None
    """Policy of the statistics of BatchNorm under freeze.norm='auto'."""
    noise: str | None = None
    """Where dropout acts under freeze.noise='auto'."""
    optimizer_state: str | None = None
    """What becomes of the optimizer's state at a change of phase, if not said by the config."""
    when: Callable[..., tuple[int, ...]] | None = None
    """Of 'data_driven': (run length, **arguments) -> steps at which it chooses."""
    often: bool = False
    """Of 'data_driven': choices at many steps, which share one program."""
    record: bool = False
    """Of 'data_driven': the optimizer sums the gradients that it decides by."""
    acts: str = 'penalty'
    """Of 'regulariser': adds a `penalty` to the loss, or changes the `weights` after a step."""
    importance: bool = False
    """Of 'regulariser': it also takes how much each weight matters for previous tasks."""
    least_ndim: int | None = None
    """Of 'regulariser': it acts on pretrained leaves of so many dimensions or more; None for one
    that acts on new leaves too."""
    check: Callable[..., None] | None = None
    """Of 'data_driven': (net, leaves that may train) -> None; UserError where it has no choice."""
    undecayed: str = ''
    """Of 'rates': the pattern of the leaves that weight decay leaves alone; '' for none."""
    runs: str | None = None
    """Of 'weights': the argument that says how many runs it takes."""

    @property
    def said(self) -> str:
        """What strategies of its kind decide, in words."""
        return KINDS[self.kind]


FIELDS = tuple(field.name for field in dataclasses.fields(Strategy) if field.name != 'kind')


def strategy(
    name: str,
    kind: str,
    *,
    source: str = '',
    options: JsonObject | None = None,
    ranges: Mapping[str, Range] | None = None,
    **parameters: Any,
) -> Callable[[Any], Any]:
    """Registers the decorated function as a strategy; parameters are given with defaults.

    `ranges={'share': between(0, 1)}` says which numbers a parameter takes; `options` are fields
    of `Strategy`.

    What the function takes and returns depends on the kind; see the module that holds the
    shipped ones of that kind (masks.py for 'mask').

    >>> @strategy('odd_blocks', 'mask', start=1)
    ... def odd_blocks(net, start):
    ...     '''Every second block, and the head.'''
    ...     return net.within(*net.blocks[start::2]) | net.head
    """
    check_name(kind, KINDS, 'kind of strategy')
    for option in options or {}:
        check_name(option, FIELDS, f'option of strategy {name!r}:')
    details = Strategy(kind=kind, **(options or {}))
    if kind == 'data_driven' and details.when is None:
        raise UserError(
            f'strategy {name!r} decides from data and does not say when; expected '
            "options={'when': lambda run_length, **_: (0,)}, the steps at which it chooses"
        )
    return registry.register(
        'strategy', name, source=source, ranges=ranges, details=details, **parameters
    )


def catalogue() -> Mapping[str, Part]:
    """All strategies, the shipped ones imported."""
    return registry.parts('strategy')


def asked(terms: Iterable[Term], field: str) -> str | None:
    """What the first of some strategies that says so asks of the plan; None where none does."""
    return next(filter(None, (getattr(term.details, field) for term in terms)), None)


def runs_asked(terms: Iterable[Term]) -> int:
    """How many runs some strategies ask for: several where the weights of several are averaged.

    >>> runs_asked(parse('last:1+soup_greedy:4')), runs_asked(parse('last:1+wise_ft'))
    (4, 1)
    """
    return max((t.arguments.get(t.details.runs, 1) for t in terms), default=1)


def parse(text: str) -> list[Term]:
    """Reads `name[:value[,value|key=value ..]][+name ..]`.

    Raises UserError for an unknown name (with the nearest), too many arguments, a value of
    the wrong type, or two terms of a kind that can stand only once.

    >>> [str(term) for term in parse('last:4')]
    ['last:4']
    """
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"freeze: expected a strategy such as 'last:2', not {text!r}")
    terms = [parse_term(part.strip()) for part in text.split('+')]
    for kind in ('rates', 'schedule', 'shape', 'data_driven', 'average', 'weights'):
        same = [term for term in terms if term.details.kind == kind]
        if len(same) > 1:
            raise UserError(
                f'freeze {text!r}: {same[0]} and {same[1]} both decide {KINDS[kind]}; keep one'
            )
    return terms


def parse_term(text: str) -> Term:
    """Reads one `name:arguments`."""
    return registry.parse('strategy', text)
