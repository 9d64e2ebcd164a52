"""A process that opens a network and answers once.

`python -m ftjax.runs.assessment.first_answer INIT TASK ANY_CODE [FILE.py ..]`
`latency_report` starts it to measure what a start costs. It prints the seconds of its parts.
"""

from __future__ import annotations

import json
import sys
import time

BEGAN = time.perf_counter()


def main(init: str, task: str, any_code: str, parts: list[str]) -> dict[str, float]:
    """Seconds to import, to load, and to compile and run the first batch."""
    from ftjax.evaluation.latency import Calls, forward_latency
    from ftjax.runs.assessment.latency_report import example_batch
    from ftjax.runs.prediction.trained import open_trained
    from ftjax.xla.compilation_cache import enable_compilation_cache

    enable_compilation_cache()
    imported = time.perf_counter()
    trained = open_trained(init, parts, task, allow_code_change=bool(any_code))
    length = getattr(trained.preprocessing, 'buckets', (None,))[0] if trained.texts else None
    loaded = time.perf_counter()
    inputs = example_batch(trained, 1, length)
    network, variables = trained.network, trained.placed
    row = forward_latency(network, variables, trained.preprocessing, inputs, Calls(1, 0.0))
    return {
        'import_seconds': imported - BEGAN,
        'load_seconds': loaded - imported,
        'compile_seconds': row['compile_seconds'],
        'first_seconds': time.perf_counter() - loaded,
    }


if __name__ == '__main__':
    print(json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])))
