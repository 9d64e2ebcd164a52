"""DICOM files: the window, its inversion, and what is said without pydicom or of broken files."""

import builtins
import io

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
from ftjax.data.images.decode import decode
from ftjax.data.images.dicom import windowed
from ftjax.data.images.geometry import Geometry
from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing

VALUES = np.random.default_rng(0).integers(0, 2000, (12, 9), dtype=np.uint16)


def written(values=VALUES, photometric='MONOCHROME2', **more):
    """The bytes of a file with these stored values; Hounsfield units are 1 x value - 1024."""
    pydicom = pytest.importorskip('pydicom')
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = '1.2.3'
    found = FileDataset('x', {}, file_meta=meta, preamble=b'\0' * 128)
    found.Rows, found.Columns = values.shape[-2:] if values.ndim < 4 else values.shape[1:3]
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, photometric
    found.BitsAllocated = found.BitsStored = 8 * values.dtype.itemsize
    found.HighBit, found.PixelRepresentation = found.BitsStored - 1, 0
    found.RescaleSlope, found.RescaleIntercept = 1, -1024
    for name, value in more.items():
        setattr(found, name, value)
    found.PixelData = values.tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, found, enforce_file_format=True)
    return buffer.getvalue()


def grey(values):
    return np.rint(values).astype(np.uint8)


def test_the_window_is_that_of_the_standard():
    units = VALUES.astype(np.float64) - 1024
    # PS3.3 C.11.2.1.2.1, by hand.
    centre, width = 40, 400
    want = np.where(
        units <= centre - 0.5 - (width - 1) / 2,
        0,
        np.where(
            units > centre - 0.5 + (width - 1) / 2,
            255,
            ((units - (centre - 0.5)) / (width - 1) + 0.5) * 255,
        ),
    )
    np.testing.assert_allclose(windowed(units, (centre, width)), want)
    own = decode(written(WindowCenter=centre, WindowWidth=width), None, 1)
    np.testing.assert_array_equal(own[..., 0], grey(want))
    several = decode(written(WindowCenter=[centre, 500], WindowWidth=[width, 9]), None, 1)
    np.testing.assert_array_equal(several, own)
    asked = Geometry(height=12, width=9, channels=1, window=(centre, width))
    np.testing.assert_array_equal(decode(written(), asked)[..., 0], grey(want))
    plain = decode(written(), None, 1)[..., 0]
    assert plain.min() == 0 and plain.max() == 255


def test_pydicom_agrees_on_its_own_window():
    pytest.importorskip('pydicom')
    import pydicom
    from pydicom.pixels import apply_voi_lut

    data = written(WindowCenter=0, WindowWidth=600)
    found = pydicom.dcmread(io.BytesIO(data))
    shown = apply_voi_lut(found.pixel_array.astype(np.float64) - 1024, found)
    shown = (shown - shown.min()) / np.ptp(shown) * 255
    np.testing.assert_allclose(decode(data, None, 1)[..., 0], shown, atol=1.0)


def test_inverted_frames_and_colours():
    plain = decode(written(WindowCenter=0, WindowWidth=600), None, 1).astype(int)
    inverse = decode(written(photometric='MONOCHROME1', WindowCenter=0, WindowWidth=600), None, 1)
    assert np.abs(255 - plain - inverse).max() <= 1
    two = np.stack([VALUES, VALUES[::-1]])
    frames = decode(written(two, NumberOfFrames=2, WindowCenter=0, WindowWidth=600), None, 1)
    np.testing.assert_array_equal(frames, plain)
    rgb = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    more = {'SamplesPerPixel': 3, 'PlanarConfiguration': 0, 'Rows': 6, 'Columns': 5}
    got = decode(written(rgb, 'RGB', **more), None, 3)
    np.testing.assert_array_equal(got, rgb)


def test_a_folder_of_scans_is_read_and_the_window_travels(tmp_path):
    for name in ('well', 'ill'):
        (tmp_path / name).mkdir()
        for number in range(10):
            values = np.roll(VALUES, number, axis=0) + (300 if name == 'ill' else 0)
            (tmp_path / name / f'{number}.dcm').write_bytes(written(values.astype(np.uint16)))
    data = load_data(DataSettings(source=f'folder:{tmp_path}', val_fraction=0.2))
    assert len(data.train) + len(data.val) + len(data.test) == 20
    saved = Preprocessing(image_size=(8, 8), window=(40.0, 400.0))
    assert Preprocessing.from_json(saved.to_json()) == saved
    assert 'window' not in Preprocessing(image_size=(8, 8)).to_json()
    for wrong in ((40.0, 0.0), (40.0, -3.0)):
        with pytest.raises(UserError, match='width above 0'):
            DataSettings(window=wrong)
        with pytest.raises(UserError, match='width above 0'):
            Preprocessing(image_size=(8, 8), window=wrong)


def test_broken_files_are_named(tmp_path):
    data = written()
    file = tmp_path / 'scan.dcm'
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r'scan\.dcm: broken image'):
        decode(str(file), None, 1)
    file.write_bytes(b'\0' * 128 + b'DICM' + b'junk')
    with pytest.raises(UserError, match=r'scan\.dcm'):
        decode(str(file), None, 1)


def test_without_pydicom_it_is_said_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith('pydicom'):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(UserError, match=r"scan: is a DICOM file.*pip install 'ftjax\[dicom\]'"):
        decode(b'\0' * 128 + b'DICM', None, 1, 'scan')


def test_only_the_first_page_of_a_tiff_is_read(tmp_path):
    pages = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (10, 200)]
    pages[0].save(tmp_path / 'pages.tif', save_all=True, append_images=pages[1:])
    assert (decode(str(tmp_path / 'pages.tif'), None, 1) == 10).all()
