"""A logger of one's own: a line a step."""

from ftjax.config import template
from ftjax.registry import register


class Lines:
    """Text in a file."""

    def __init__(self, file):
        self.file = file.open('a')

    def write(self, step, values):
        print(step, *sorted(values), file=self.file, flush=True)

    def close(self):
        self.file.close()


@register('logger', 'lines')
def lines(folder, resume_step, name: str = 'own'):
    """The names of what was measured, in NAME.txt of the run's folder."""
    del resume_step
    return Lines(folder / f'{name}.txt')


def get_config():
    return template(train={'loggers': ('lines:mine',)})
