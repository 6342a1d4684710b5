"""What an import leaves to choose, by the names that the command line offers. Nothing heavy is imported here."""

from typing import Literal

Stripper = Literal["auto", "deepbet", "hd-bet"]
"""What removes the skull; `auto` is the quickest one that is installed and was made for the scans."""
