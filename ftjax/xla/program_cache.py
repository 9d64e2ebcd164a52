"""Compiled programs, shared by every run that asks for the same one."""

from __future__ import annotations

import collections
import dataclasses
import functools
import gc
import pathlib
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax

from ftjax.distributed.sharding import Sharding
from ftjax.pytrees import Tree
from ftjax.xla.cost_analysis import bytes_of, flops_of

MOST = 256
"""Programs that are kept; those used longest ago go first."""
_PROGRAMS: collections.OrderedDict[Hashable, Program] = collections.OrderedDict()

_dropped = 0
_CODE: dict[str, object] = {}
"""Hashes of the user's own code that programs were compiled from, by its names."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled function and the seconds its compilation took."""

    call: jax.stages.Compiled
    seconds: float

    @functools.cached_property
    def flops(self) -> float:
        """FLOPs that the compiler counts in it, a loop's body once; NaN where it does not."""
        return flops_of(self.call)

    @functools.cached_property
    def bytes(self) -> int | None:
        """Device memory while it runs; None where the compiler does not say."""
        return bytes_of(self.call)


def program(
    function: Callable[..., object],
    *arguments: object,
    donate: tuple[int, ...] = (),
    places: Any = None,
) -> Program:
    """Compiles `function` for arguments of these shapes, or finds it compiled already.

    `function` is its own key: a frozen dataclass that is called, equal to another where both
    compute the same. `places` are the shardings of what it returns; None leaves them to the
    compiler.
    """
    leaves, structure = jax.tree.flatten(arguments)
    taken = tuple((x.shape, str(x.dtype), x.sharding) for x in leaves)
    given, form = jax.tree.flatten(places)
    whole = (function, taken, structure, tuple(given), form)
    if whole not in _PROGRAMS:
        make_room()
        began = time.perf_counter()
        out = {} if places is None else {'out_shardings': places}
        compiled = jax.jit(function, donate_argnums=donate, **out).lower(*arguments).compile()
        _PROGRAMS[whole] = Program(compiled, time.perf_counter() - began)
    _PROGRAMS.move_to_end(whole)
    return _PROGRAMS[whole]


def forget_other_code(code: Mapping[str, object]) -> None:
    """Drops all programs where the code of a name is another than before in this process.

    A program is found by the function that was registered, and would not see that a helper or a
    constant of it changed: in another cell of a notebook, say. `code` holds hashes by name.
    """
    global _dropped
    if any(_CODE.get(name, found) != found for name, found in code.items()):
        _dropped += 1
        _PROGRAMS.clear()
        jax.clear_caches()
    _CODE.update(code)


def times_dropped() -> int:
    """How often programs were dropped: while it stays the same, none is compiled a second time."""
    return _dropped


def make_room() -> None:
    """Drops the older half of the programs when there are too many for the process.

    On a CPU each takes hundreds of memory maps, of which Linux gives a process 65,530: a long
    ablation would end with "LLVM compilation error: Cannot allocate memory".
    """
    if len(_PROGRAMS) < MOST and not crowded():
        return
    global _dropped
    _dropped += 1
    for _ in range(len(_PROGRAMS) // 2):
        _PROGRAMS.popitem(last=False)
    jax.clear_caches()
    gc.collect()


def crowded(share: float = 0.5) -> bool:
    """Whether the process uses more than a share of the memory maps that Linux allows it."""
    try:
        most = int(pathlib.Path('/proc/sys/vm/max_map_count').read_text())
        with open('/proc/self/maps', 'rb') as maps:
            return sum(1 for _ in maps) > share * most
    except (OSError, ValueError):
        return False


def replicated(tree: Tree) -> Tree:
    """Puts a tree on every device."""
    return Sharding().copied(tree)
