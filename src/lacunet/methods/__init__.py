"""One file per paper; the file name is the name on the command line."""
