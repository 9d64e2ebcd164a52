"""Threads that exchange values as the processes of one run do."""

import threading

from ftjax.distributed import process_group

PROCESSES = 3


def in_threads(monkeypatch, function):
    """`function(process)` of all at once, for whom `process_group` is that of several processes."""
    meeting, given, found = threading.Barrier(PROCESSES), {}, {}
    own = threading.local()

    def from_each(value):
        given[own.number] = value
        meeting.wait(timeout=30)
        values = [given[number] for number in range(PROCESSES)]
        meeting.wait(timeout=30)
        return values

    def run(number):
        own.number = number
        try:
            found[number] = function(number)
        except BaseException:
            meeting.abort()
            raise

    for name, simulated in {
        'from_each': from_each,
        'several': lambda: True,
        'largest': lambda value: max(from_each(value)),
        'own_share': lambda count: range(own.number, count, PROCESSES),
    }.items():
        monkeypatch.setattr(process_group, name, simulated)
    threads = [threading.Thread(target=run, args=(n,)) for n in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(PROCESSES)]
