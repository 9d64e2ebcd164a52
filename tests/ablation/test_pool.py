"""Which worker gets which job: those of an arm stay where its programs are compiled."""

import collections

from ftjax.ablation.engines.engine import Outcome
from ftjax.ablation.engines.pool import Pool

ARMS, SEEDS = ('a', 'b', 'c'), (0, 1, 2)
JOBS = [((arm, 1e-3, seed),) for seed in SEEDS for arm in ARMS]


class Clerk:
    """A worker of this process; one that is `mortal` dies of its second job."""

    def __init__(self, mortal=False):
        self.mortal, self.done, self.ended = mortal, [], False

    def give(self, job):
        self.job = job

    def take(self):
        if self.mortal and len(self.done) == 1 and self.job:
            return Outcome(death='SIGKILL')
        self.done += [self.job] if self.job else []
        return Outcome(rows=[{'job': self.job}] if self.job else [])

    def end(self):
        self.ended = True


def pool(mortals=(), workers=2, first=None):
    """A pool and its workers; `first` names whose outcome is ready first, by number."""
    crew = []

    def start_worker(kind):
        crew.append(Clerk(len(crew) in mortals))
        return crew[-1]

    def ready(busy, seconds):
        chosen = [w for w in busy if first is not None and crew.index(w) == first]
        return (chosen or busy)[:1]

    return Pool(start_worker, ready, workers), crew


def arms(worker):
    return collections.Counter(job[0][0] for job in worker.done)


def test_every_job_is_done_once_and_few_arms_are_compiled_twice():
    made, crew = pool()
    rows = list(made.run(JOBS))
    assert sorted(row['job'] for row in rows) == sorted(JOBS)
    # One worker has two arms; the other takes over one of their jobs when its own are done.
    assert sum(len(arms(worker)) for worker in crew) <= len(ARMS) + 1
    # Within an arm seeds come in order, so that a worker reads a data set once.
    for worker in crew:
        seeds = [job[0][2] for job in worker.done]
        assert seeds == sorted(seeds)
    # The next round goes where the programs are.
    before = [set(arms(worker)) for worker in crew]
    list(made.run([(('c', 3e-3, 0),), (('a', 3e-3, 0),)]))
    for worker, known in zip(crew, before, strict=True):
        assert set(arms(worker)) == known


def test_nobody_is_idle_while_a_job_is_left():
    made, crew = pool(first=1)
    list(made.run(JOBS))
    # The quick one does the slow one's jobs too, whatever it has to compile.
    assert len(crew[1].done) >= len(JOBS) - 1


def test_the_arms_of_a_dead_worker_are_free_again():
    made, crew = pool(mortals=(0,))
    rows = list(made.run(JOBS))
    assert sorted(row['job'] for row in rows) == sorted(JOBS)
    assert crew[0].ended and len(crew) == 3
    assert set(made.arms) == {crew[1], crew[2]}


def kinds_of(job):
    return 'whole' if job[0][0] == 'c' else 'part'


class Room:
    """A pool on one device: one worker of kind `whole`, or two of kind `part`."""

    def __init__(self, lost=()):
        self.crew, self.kinds, self.lost = [], [], lost
        self.most = 0

    def start_worker(self, kind):
        takes = {'whole': 2, 'part': 1}
        there = [k for w, k in zip(self.crew, self.kinds, strict=True) if not w.ended]
        if sum(takes[k] for k in there) + takes[kind] > 2:
            return None
        self.crew.append(Lost() if len(self.crew) in self.lost else Clerk())
        self.kinds.append(kind)
        self.most = max(self.most, len(there) + 1)
        return self.crew[-1]

    def pool(self):
        return Pool(self.start_worker, lambda busy, seconds: busy[:1], 9, kinds_of)


class Lost(Clerk):
    """A worker whose machine is gone at its first job."""

    def take(self):
        return Outcome(death='its machine', lost=True) if self.job else super().take()


def test_jobs_go_to_workers_of_their_kind_and_idle_ones_of_others_make_room():
    room = Room()
    made = room.pool()
    rows = list(made.run(JOBS))
    assert sorted(row['job'] for row in rows) == sorted(JOBS)
    for worker, kind in zip(room.crew, room.kinds, strict=True):
        assert {kinds_of(job) for job in worker.done} <= {kind}
    # Each kind is started once it has its turn, and its jobs are all done before the next.
    assert room.kinds == ['part', 'part', 'whole'] and room.most == 2
    made.close()
    assert all(worker.ended for worker in room.crew)


def test_a_lost_machine_is_no_death_of_a_job():
    # Two machines are lost one after the other under the same jobs: a death would fail them.
    room = Room(lost=(0, 1, 2, 3))
    rows = list(room.pool().run(JOBS))
    assert sorted(row['job'] for row in rows) == sorted(JOBS)


def test_a_job_under_which_every_machine_is_lost_fails():
    room = Room(lost=range(100))
    rows = list(room.pool().run(JOBS[:1]))
    assert [row['status'] for row in rows] == ['failed'] and len(room.crew) == 5


def test_a_worker_that_never_comes_does_not_keep_a_finished_grid_waiting():
    made, crew = pool(first=0)
    rows = made.run(JOBS)
    assert len(list(rows)) == len(JOBS)
    # The second worker was started and never asked: only the first one's outcomes came.
    assert len(crew) == 2 and not crew[1].done
