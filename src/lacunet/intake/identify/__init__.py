"""Which sequence a scan is, by its header, name and voxels; and which of several scans to take."""
