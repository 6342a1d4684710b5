"""The options of an import that have names, as the command line offers them. Nothing heavy is imported here."""

from typing import Literal

Stripper = Literal["auto", "deepbet", "hd-bet"]
"""What removes the skull; `auto` is the quickest one that is installed and was made for the scans."""
