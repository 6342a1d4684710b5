"""Which sequence a scan is: from its header, its name and its voxels; and which of several to take."""
