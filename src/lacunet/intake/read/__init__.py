"""Reading what a hospital exports: archives, DICOM headers and series, loose NIfTI."""
