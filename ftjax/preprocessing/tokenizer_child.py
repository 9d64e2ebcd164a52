"""The child of `tokenizer_trial`: loads a tokenizer.json from its input and gives it texts.

It imports nothing of ftjax, so that it starts in a quarter of a second. It ends with 0, or says
`refused: ..` and ends with 1; or the library ends it.
"""

import contextlib
import json
import math
import sys

MOST = 64  # characters, or tokens, for each character of a text


def limit(seconds: int, size: int) -> None:
    """Little time and memory, as far as the system can enforce it."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # Tables in memory are some forty times as large as their text.
    memory = 2**30 + 50 * size
    for what, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def texts() -> list[str]:
    """Short ones first: what makes much of little is found while it is little."""
    scripts = 'Straße Ελλάδα Россия 中文字符 日本語かな 한국어 العربية עברית हिन्दी ไทย 🙂👩‍👩‍👧'
    marks = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~ \t\n\r\u00a0\u200b\ufeff\ufffd\U0010ffff\x00\x7f'
    return [
        *('', 'a', ' ', 'ab', '.', 'A quick test, isn’t it?', scripts, marks),
        *(f'{each * 40}!' for each in ('a', '1', ' ', 'ab', 'a ', '.', 'é', '中', '\n')),
        ' '.join(f'word{i} {i}.{i}' for i in range(400)),
        scripts * 20,
        'x' * 5000,
    ]


def growth(node) -> int:
    """How many characters one can become, whichever it is, by replacing and prepending."""
    if isinstance(node, list):
        return math.prod(map(growth, node))
    if not isinstance(node, dict):
        return 1
    own = len(node['content']) if isinstance(node.get('content'), str) else 1
    return max(own, 1) * math.prod(map(growth, node.values()))


def main() -> None:
    """Tries what comes through the standard input."""
    data = sys.stdin.buffer.read()
    limit(int(sys.argv[1]), len(data))
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(data.decode())
    parts = json.loads(data)
    if growth([parts.get('normalizer'), parts.get('pre_tokenizer')]) > 64 * MOST:
        raise ValueError('its normalizer replaces a character by a very long text')
    tokenizer.no_padding()
    tokenizer.no_truncation()
    normalizer = tokenizer.normalizer
    for text in texts():
        normal = normalizer.normalize_str(text) if normalizer is not None else text
        found = tokenizer.encode(text)
        most = MOST * len(text) + 1000
        if max(len(normal), len(found.ids), sum(map(len, found.tokens))) > most:
            raise ValueError(f'it makes more than {MOST} characters or tokens of one character')
    tokenizer.encode_batch_fast([*texts(), ('one text', 'and another')])
    tokenizer.enable_truncation(16)
    tokenizer.encode_batch_fast([('one text ' * 20, 'and another ' * 20), 'word ' * 100])
    tokenizer.num_special_tokens_to_add(True)


if __name__ == '__main__':
    try:
        main()
    except BaseException as error:  # a panic of Rust is no Exception
        print('refused:', ' '.join(str(error).split())[:200] or type(error).__name__)
        sys.exit(1)
