"""DICOM files with planted names, for tests."""

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

RAMP = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
"""12 bits, lowest 0, highest 3071 of 4095."""
SECRETS = ("PLANTED^NAME", "ID-4711-X", "19440607", "St. Planted Hospital", "private planted", "planted comment")


def write(path, values=RAMP, photometric="MONOCHROME2", *, bits=12, **elements):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.Modality = "DX"
    made.PatientName, made.PatientID, made.PatientBirthDate, made.InstitutionName = SECRETS[:4]
    made.add_new(0x00091010, "LO", SECRETS[4])
    made.add_new(0x00204000, "LT", SECRETS[5])
    made.set_pixel_data(values, photometric, bits)
    for name, value in elements.items():
        setattr(made, name, value)
    made.save_as(path, enforce_file_format=True)
    return path
