"""Makes the parts of pages that come from the code: config keys, strategies, recipes.

    python scripts/pages.py

Writes configs/README.md and ftjax/freezing/strategies/README.md anew between their marks; a test
fails while they are not what the code says. `python scripts/plan.py --keys --markdown` and
`--list strategy --markdown` print the same tables.
"""

import pathlib

from ftjax.cli import launch


def main():
    from ftjax.cli.generated_pages import write_pages

    root = pathlib.Path(__file__).resolve().parents[1]
    changed = write_pages(root)
    for path in changed:
        print(f'written: {path.relative_to(root)}')
    if not changed:
        print('nothing has changed')


if __name__ == '__main__':
    launch.run(main)
