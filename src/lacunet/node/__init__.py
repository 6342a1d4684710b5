"""How does a study get from an archive to a mask, and the mask back into the archive?"""
