"""Puts all results into one table, from their rows; checks what others hand in.

    python scripts/leaderboard.py
    python scripts/leaderboard.py --setting=quickstart --metric=accuracy --budget=0.5
    python scripts/leaderboard.py --results=s3://bucket/results
    python scripts/leaderboard.py --commits=https://HOST/OWNER/NAME/commit/
    python scripts/leaderboard.py --seal=MY_FOLDER --setting=quickstart

Reads every runs.jsonl below --results, and how it is compared from the summary.json beside it: the
reference arm, folds, the margin, what a race decided. Writes leaderboard/index.html, which filters
by setting, metric and budget, and leaderboard/README.md. With a filter it writes nothing and prints
the lines that pass; so it does where --results is a URL (s3://bucket/results). --seal writes
submission.json, the hashes of config.py and runs.jsonl, into a folder that you hand in; a folder in
leaderboard/submissions counts only if its hashes, data, trials, seeds and weights are in order
(results/leaderboard/HOW_TO_ADD.md).
"""

import pathlib

from absl import flags

from ftjax.cli import launch

RESULTS = flags.DEFINE_string(
    'results', 'results', 'Folder of all results, or a URL of fsspec to read them from.'
)
SETTING = flags.DEFINE_string('setting', '', 'This setting alone; of --seal, the one to join.')
METRIC = flags.DEFINE_string('metric', '', 'This metric alone.')
BUDGET = flags.DEFINE_float(
    'budget', None, 'Arms whose step costs at most this share of the costliest.', lower_bound=0.0
)
COMMITS = flags.DEFINE_string(
    'commits', '', 'Address of a commit up to its hash, for links to the commits of rows.'
)
SEAL = flags.DEFINE_string('seal', None, 'Folder of a submission to seal.')


def main():
    from ftjax.ablation.leaderboard.board import build, first_metrics, seal, shown
    from ftjax.ablation.leaderboard.entries import within
    from ftjax.ablation.publishing.results_at_url import results_at
    from ftjax.errors import UserError
    from ftjax.io.files.url_folder import is_url

    with results_at(RESULTS.value, '--results') as results:
        if not results.is_dir():
            raise UserError(f'--results={results} is no folder')
        if SEAL.value is not None:
            print(f'written: {seal(results, pathlib.Path(SEAL.value), SETTING.value)}')
            return
        board = build(results)
        if SETTING.value or METRIC.value or BUDGET.value is not None:
            asked = SETTING.value, METRIC.value, BUDGET.value
            board.check(*asked)
            found = [entry for entry in board.entries if within(entry, *asked)]
            print(shown(board, found, COMMITS.value))
            return
        if is_url(RESULTS.value):
            print(shown(board, first_metrics(board.entries), COMMITS.value))
            return
        for path in board.write(COMMITS.value):
            print(f'written: {path}')
        for name, told in board.refused.items():
            print(f'{name} does not count: {told}')


if __name__ == '__main__':
    launch.run(main)
