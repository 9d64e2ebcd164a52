"""The ViT's full step under flags of XLA's GPU compiler, one at a time, beside the default.

None is set by ftjax before a row here shows that it helps. Flags go to the compiler with the
program (`compiler_options`), not by XLA_FLAGS: an unknown one there ends the process.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from benchmarks.device.report import Section
from benchmarks.device.timing import cleared, compared, in_turn
from benchmarks.device.vision_steps import FULL, TINY, own_side

CANDIDATES: tuple[dict[str, Any], ...] = (
    # The schedule that NVIDIA's images of JAX use; made for collectives, it also moves copies.
    {'xla_gpu_enable_latency_hiding_scheduler': True},
    # Products by cuBLAS alone; by default those with something fused may be Triton's.
    {'xla_gpu_enable_triton_gemm': False},
    # Products that share an operand become one: queries, keys and values, of 38 MB of activations,
    # are above the default of 32.
    {'xla_gpu_dot_merger_threshold_mb': 512},
    # Bias and activation inside a product, where cuBLASLt has them. Newer versions call it
    # deprecated: its row then has the same program.
    {'xla_gpu_enable_cublaslt': True},
    # cuDNN's fused products take part in autotuning; higher levels are more kinds of them.
    {'xla_gpu_cudnn_gemm_fusion_level': 3},
    # No CUDA graphs. An empty xla_gpu_enable_command_buffer is lost on its way to the compiler.
    {'xla_gpu_graph_min_graph_size': 1_000_000},
    # No search for the fastest kernels: what it costs at the start, and what it brings.
    {'xla_gpu_autotune_level': 0},
)
"""In order of worth. Left out: xla_gpu_triton_gemm_any is on by default, and an exhaustive search
of tilings takes minutes."""
REHEARSED = (CANDIDATES[0], {'xla_gpu_no_such_flag': True})
LEAST = 35.0
"""Seconds that must be left for a candidate: most is compilation."""


def run(section: Section, tiny: bool) -> None:
    """A row a candidate; on a CPU none, but tiny, which shows that the rows can be made."""
    import jax

    if jax.default_backend() != 'gpu' and not tiny:
        section.leave_out('flags of the GPU compiler', 'no GPU')
        return
    sizes, batch, seconds = (TINY, 8, 0.05) if tiny else (FULL, 128, 0.6)
    candidates = REHEARSED if tiny else CANDIDATES
    default = own_side('full', sizes, batch)
    default.steps(1)
    losses = default.losses
    for place, options in enumerate(candidates):
        if section.left < LEAST and not tiny:
            rest = ', '.join(shown(options) for options in candidates[place:])
            section.leave_out(rest, f'{section.left:.0f} s left')
            return
        row = {'row': f'ViT-B/16 full, {shown(options)}', 'kind': 'flags'}
        refused = refusal(options)
        if refused:
            section.row(**row, said=refused)
            continue
        try:
            side = own_side('full', sizes, batch, options=options)
            side.steps(1)
            # Both begin alike and have made the same steps: a flag may not change what is learnt.
            gap = float(np.abs(side.losses - losses).max())
            times = in_turn({'ftjax': default, 'flag': side}, seconds, 3)
        except Exception as error:
            section.row(**row, said=f'{type(error).__name__}: {error}'[:200])
        else:
            same = instructions(side) == instructions(default)
            found = {**compared(times), 'loss_gap': gap, 'compile_seconds': side.compile_seconds}
            section.row(**row, **found, program='the same' if same else 'another')
        side = None  # its memory is for the next one
        cleared()


def instructions(side: Any) -> list[str]:
    """Of the compiled program, without the lines of code that they come from."""
    text = re.sub(r', metadata=\{(?:[^}"]|"[^"]*")*\}', '', side.program.as_text())
    return [line for line in text.splitlines() if ' = ' in line]


def shown(options: dict[str, Any]) -> str:
    """As XLA_FLAGS has it, without the dashes.

    >>> shown({'xla_gpu_enable_triton_gemm': False})
    'xla_gpu_enable_triton_gemm=false'
    """
    return ' '.join(f'{name}={str(value).lower()}' for name, value in options.items())


def refusal(options: dict[str, Any]) -> str:
    """What the compiler says against options, for a program of one sum; empty where nothing."""
    import jax

    try:
        jax.jit(lambda x: x + 1).lower(1.0).compile(compiler_options=options)
    except Exception as error:
        return f'not known to jax {jax.__version__}: {error}'[:200]
    return ''
