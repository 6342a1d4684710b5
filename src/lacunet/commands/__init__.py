"""The commands, a file for each kind; `lacunet.cli` puts them together."""
