"""From files on disk to cases."""
