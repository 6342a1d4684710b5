"""One file per image format: its header is read and checked here, before memory is taken for voxels."""
