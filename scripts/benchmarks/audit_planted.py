"""Errors planted in photographs, groups and labels, and what the audit finds of them."""

import io
import pathlib
import tempfile

import numpy as np

HYMENOPTERA, CIFAR = 'hymenoptera', 'cifar10/cifar10_test10k.npz'
EACH = 40
"""Photographs that each change is applied to."""


def data(name):
    """A path in the data folder."""
    from ftjax.data.user_paths import resolve_path

    return resolve_path(f'$FTJAX_DATA/{name}')


def row(kind, check, found, planted, wrong, examples):
    """Recall and precision of a kind with their intervals; `wrong` were found and not planted."""
    from ftjax.evaluation.intervals import wilson_interval

    hits = len(found & planted)
    told = hits + wrong
    return {
        'kind': kind,
        'check': check,
        'planted': len(planted),
        'examples': examples,
        'recall': hits / len(planted),
        'recall_interval': wilson_interval(hits, len(planted)),
        'precision': hits / told if told else None,
        'precision_interval': wilson_interval(hits, told) if told else None,
        'wrong': wrong,
    }


def jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=int(quality))
    return file.getvalue()


def changes(rng):
    """{kind: function of (path, picture) to (suffix, bytes)}."""
    from PIL import Image

    def png(path, image):
        file = io.BytesIO()
        image.save(file, 'PNG')
        return '.png', file.getvalue()

    def cropped(path, image):
        # 5 % of each side's length, shared by its two ends at random.
        left, top = rng.uniform(0, 0.05, 2) * image.size
        width, height = 0.95 * np.array(image.size)
        box = [round(float(v)) for v in (left, top, left + width, top + height)]
        return '.jpg', jpeg(image.crop(box), 90)

    return {
        'bytes': lambda path, image: ('.jpg', path.read_bytes()),
        'pixels (PNG)': png,
        'JPEG, quality 30 to 90': lambda path, image: ('.jpg', jpeg(image, rng.integers(30, 91))),
        'half the size': lambda path, image: (
            '.jpg',
            jpeg(image.resize((image.width // 2, image.height // 2)), 90),
        ),
        'mirrored': lambda path, image: (
            '.jpg',
            jpeg(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 90),
        ),
        'cropped by 5 %': cropped,
    }


def photographs(rng):
    """Copies of training photographs in the test split, beside 153 others."""
    from PIL import Image

    from ftjax.data import DataSettings, load_data
    from ftjax.data.audit.examples import Examples
    from ftjax.data.audit.measures.duplicates import find_duplicates

    originals = sorted(data(HYMENOPTERA).glob('train/*/*.jpg'))
    others = sorted(data(HYMENOPTERA).glob('val/*/*.jpg'))
    with tempfile.TemporaryDirectory() as place:
        root, kinds = pathlib.Path(place), {}
        for split, paths in (('train', originals), ('test', others)):
            for path in paths:
                into = root / split / path.parent.name / path.name
                into.parent.mkdir(parents=True, exist_ok=True)
                into.write_bytes(path.read_bytes())
        # What the data hold already is theirs, and counts neither way.
        known = copies(load_data(DataSettings(source=f'folder:{root}', val_fraction=0)))
        for kind, change in changes(rng).items():
            for path in rng.choice(np.array(originals, object), EACH, replace=False):
                suffix, content = change(path, Image.open(path).convert('RGB'))
                name = f'{len(kinds):04d}-{path.stem}{suffix}'
                (root / 'test' / path.parent.name / name).write_bytes(content)
                kinds[name] = kind
        splits = load_data(DataSettings(source=f'folder:{root}', val_fraction=0))
        for whole in (False, True):
            examples = Examples(splits)
            found = find_duplicates(examples, whole)
            check = 'full audit' if whole else 'always on'
            same, near = (ids(examples, of) for of in found.leaks(examples, 2))
            for kind in changes(rng):
                planted = {name for name in kinds if kinds[name] == kind}
                exact = kind in ('bytes', 'pixels (PNG)')
                got = same if exact else same | near
                wrong = len(got - set(kinds) - known) if not exact else len(same - exact_of(kinds))
                yield row(f'photographs: {kind}', check, got, planted, wrong, len(splits.test))


def exact_of(kinds):
    """Names of planted files that are exact copies."""
    return {name for name, kind in kinds.items() if kind in ('bytes', 'pixels (PNG)')}


def ids(examples, positions):
    """File names of examples."""
    return {examples.id(int(i)).rpartition('/')[-1] for i in positions}


def copies(splits):
    """Names of test photographs that have copies in training before any is planted."""
    from ftjax.data.audit.examples import Examples
    from ftjax.data.audit.measures.duplicates import find_duplicates

    examples = Examples(splits)
    exact, near = find_duplicates(examples, whole=True).leaks(examples, 2)
    return ids(examples, exact) | ids(examples, near)


def groups(rng):
    """Data sets whose file names tell patients, split by picture (a leak) or by patient."""
    from ftjax.data import Dataset, Splits
    from ftjax.data.audit.findings.groups import shared_groups

    forms = ('p{0:02d}_{1}', 'patient {0}-{1}', '{0:04d}_c1s1_{1:06d}', 'subj{0}.scan{1}')
    found, leaking, count = set(), set(), 200
    for number in range(count):
        patients, each = int(rng.integers(12, 60)), int(rng.integers(3, 9))
        form = forms[number % len(forms)]
        of = np.repeat(np.arange(patients), each)
        names = [form.format(p, i) for i, p in enumerate(of)]
        leak = number % 2 == 0
        test = rng.random(len(of)) < 0.3 if leak else np.isin(of, np.arange(patients // 4))
        whole = Dataset(
            name='d', kind='text', inputs=names, labels=of % 2, class_names=('a', 'b'), ids=names
        )
        parts = (
            whole.take(np.flatnonzero(~test)),
            whole.take([]),
            whole.take(np.flatnonzero(test)),
        )
        told = shared_groups(Splits(train=parts[0], val=parts[1], test=parts[2]))
        if leak:
            leaking.add(number)
        if any(each.shared for each in told):
            found.add(number)
    yield row(
        'group leaks in names (data sets)', 'always on', found, leaking, len(found - leaking), count
    )


def label_noise(rng, count):
    """5 % of the labels of CIFAR-10 test images set to another class."""
    from sklearn.metrics import average_precision_score

    from ftjax.data.audit.measures.label_errors import confident_learning, held_out_probabilities

    features, labels = cifar_features(count)
    noisy = labels.copy()
    planted = rng.permutation(len(labels))[: round(0.05 * len(labels))]
    noisy[planted] = (labels[planted] + rng.integers(1, 10, len(planted))) % 10
    probabilities = held_out_probabilities(features, noisy)
    assert probabilities is not None
    found = confident_learning(noisy, probabilities)
    wrong = np.zeros(len(labels), bool)
    wrong[planted] = True
    of = {*found.flagged.tolist()}
    one = row(
        'labels: 5 % noise',
        'full audit',
        of,
        {*planted.tolist()},
        len(of - {*planted.tolist()}),
        len(labels),
    )
    one['average_precision'] = float(average_precision_score(wrong, found.score))
    try:
        from cleanlab.filter import find_label_issues  # pyrefly: ignore
        from cleanlab.rank import get_label_quality_scores  # pyrefly: ignore
    except ModuleNotFoundError:
        pass
    else:
        score = 1 - get_label_quality_scores(noisy, probabilities)
        theirs = {*np.flatnonzero(find_label_issues(noisy, probabilities, n_jobs=1)).tolist()}
        one['cleanlab'] = {
            'average_precision': float(average_precision_score(wrong, score)),
            'recall': len(theirs & {*planted.tolist()}) / len(planted),
            'precision': len(theirs & {*planted.tolist()}) / max(len(theirs), 1),
            'flagged_by_both': len(theirs & of) / max(len(theirs | of), 1),
        }
    yield one


def cifar_features(count):
    """Frozen features and labels of the first CIFAR-10 test images."""
    from ftjax.config import read_config
    from ftjax.data import load_data
    from ftjax.data.matching import matching_preprocessing
    from ftjax.runs.before_training.frozen_features import frozen_features
    from ftjax.runs.network_opening import open_network

    config = read_config(
        {
            'init': 'data:resnet26_gn_cifar10',
            'data': {
                'source': f'npz:{data(CIFAR)}',
                'class_names': [str(i) for i in range(10)],
                'test_fraction': 0.0,
                'val_fraction': 0.0,
            },
        }
    )
    splits = load_data(config.data)
    part = splits.train.take(np.arange(count))
    opened = open_network(config, splits)
    pre = matching_preprocessing(part, opened.network, opened.preprocessing, config.data)
    return frozen_features(opened.network, opened.variables, [part], pre), np.array(part.labels)
