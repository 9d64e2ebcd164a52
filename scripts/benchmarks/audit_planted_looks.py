"""Odd pictures and damaged texts that are planted among whole ones, and what the audit finds."""

import io
import pathlib
import tempfile

import numpy as np
from benchmarks.audit_planted import HYMENOPTERA, data, jpeg, row
from benchmarks.audit_planted_texts import sentences

EACH = 20
"""Photographs, and texts, that each fault is planted in."""
CYRILLIC = str.maketrans('abcdefghijklmnoprstuvwyz', 'абцдефгхижклмнопрстувшыз')


def faults():
    """{(kind, the check that is to find it): function of a picture to bytes}."""
    from PIL import Image, ImageFilter

    def light(image, factor, white=0):
        values = white + (np.asarray(image, np.float32) - white) * factor
        return jpeg(Image.fromarray(values.round().astype(np.uint8)), 90)

    def one_colour(image):
        mean = np.asarray(image).mean(axis=(0, 1)).clip(40, 220)
        return jpeg(Image.new('RGB', image.size, tuple(int(v) for v in mean)), 90)

    def turned(image):
        file, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(file, 'JPEG', exif=exif)
        return file.getvalue()

    def blurred(share):
        return lambda image: jpeg(
            image.filter(ImageFilter.GaussianBlur(share * max(image.size))), 90
        )

    return {
        ('a twentieth of the light', 'dark or bright images'): lambda i: light(i, 1 / 20),
        ('washed out to white', 'dark or bright images'): lambda i: light(i, 1 / 20, 255),
        ('of one colour', 'blank images'): one_colour,
        ('blurred by 1 % of the side', 'blurred images'): blurred(0.01),
        ('blurred by 3 % of the side', 'blurred images'): blurred(0.03),
        ('24 x 24 pixels', 'tiny images'): lambda i: jpeg(i.resize((24, 24)), 90),
        ('four times as wide as high', 'odd shapes'): lambda i: jpeg(
            i.crop((0, 0, i.width, max(1, i.width // 4))), 90
        ),
        ('turned by EXIF', 'EXIF rotation'): turned,
        ('in grey', 'mixed modes'): lambda i: jpeg(i.convert('L'), 90),
        ('in CMYK', 'mixed modes'): lambda i: jpeg(i.convert('CMYK'), 90),
        ('cut off after half its bytes', 'broken files'): lambda i: half(jpeg(i, 90)),
        ('no picture', 'broken files'): lambda i: b'no picture',
    }


def half(content):
    return content[: len(content) // 2]


def looks(rng):
    """Odd pictures among the ants and bees, each kind found by its own check."""
    from PIL import Image

    paths = sorted(data(HYMENOPTERA).glob('*/*/*.jpg'))
    with tempfile.TemporaryDirectory() as place:
        root, planted = pathlib.Path(place), {}
        for path in paths:
            into = root / path.parent.name / f'{path.parent.parent.name}-{path.name}'
            into.parent.mkdir(parents=True, exist_ok=True)
            into.write_bytes(path.read_bytes())
        known = flagged(root)  # what the photographs hold already counts neither way
        for number, (key, change) in enumerate(faults().items()):
            for path in rng.choice(np.array(paths, object), EACH, replace=False):
                name = f'{number:02d}-{path.stem}.jpg'
                picture = Image.open(path).convert('RGB')
                (root / path.parent.name / name).write_bytes(change(picture))
                planted.setdefault(key, set()).add(name)
        found, count = flagged(root), len(paths) + EACH * len(faults())
        for (kind, check), names in planted.items():
            got = found.get(check, set()) - known.get(check, set())
            same = set().union(*(planted[key] for key in planted if key[1] == check))
            yield row(f'photographs: {kind}', 'full audit', got, names, len(got - same), count)


def flagged(root):
    """{check: names of the files that it flags} of a folder."""
    from ftjax.data import DataSettings, load_data
    from ftjax.data.audit.full import full_audit, open_files

    settings = DataSettings(source=f'folder:{root}', val_fraction=0, verify='none')
    opened = open_files(load_data(settings))
    audit = full_audit(opened)
    found = {'broken files': {i.rpartition('/')[-1] for _, i, _ in opened.broken}}
    for one in audit.findings:
        ids = {audit.examples.id(line.position).rpartition('/')[-1] for line in one.rows}
        found[one.check] = found.get(one.check, set()) | ids
    return found


def damaged_texts(rng):
    """Damaged sentences among 2,000 whole ones, each kind found by its own check."""
    from ftjax.data import Dataset, Splits
    from ftjax.data.audit.examples import Examples
    from ftjax.data.audit.findings.text_findings import text_findings

    given = sentences(rng, 2000)
    stand_ins = ('N/A', 'null', 'None', ' nan ', '-unknown-')
    changes = {
        ('spaces alone', 'empty texts'): lambda text, i: ' \t\u3000'[: i % 3 + 1],
        ('signs alone', 'texts without words'): lambda text, i: (' .', '--', '!?', '(..)')[i % 4],
        ('stands for nothing', 'placeholders'): lambda text, i: stand_ins[i % 5],
        ('U+FFFD for a letter', 'replacement characters'): lambda text, i: (
            f'{text[:i]}\ufffd' + text[i + 1 :]
        ),
        ('in Cyrillic letters', 'several scripts'): lambda text, i: text.translate(CYRILLIC),
        ('of 200 words', 'cut texts'): lambda text, i: ' '.join((text.split() * 200)[:200]),
    }
    planted, free = {}, rng.permutation(len(given))
    for number, (key, change) in enumerate(changes.items()):
        planted[key] = {int(i) for i in free[number * EACH : (number + 1) * EACH]}
        for place, i in enumerate(sorted(planted[key])):
            given[i] = change(given[i], place)
    whole = Dataset(
        name='d', kind='text', inputs=given, labels=np.arange(2000) % 2, class_names=('a', 'b')
    )
    splits = Splits(train=whole, val=whole.take([]), test=whole.take([]))
    words = np.array([len(text.split()) for text in given])  # stand for tokens
    findings = text_findings(Examples(splits), np.minimum(words, 128), 128)
    found = {one.check: {line.position for line in one.rows} for one in findings}
    for (kind, check), positions in planted.items():
        got = found.get(check, set())
        yield row(f'texts: {kind}', 'full audit', got, positions, len(got - positions), len(given))
