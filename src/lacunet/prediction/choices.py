"""The options of a prediction that have names, as the command line offers them. No torch here."""

from typing import Literal

Precision = Literal["auto", "bf16", "float32"]
"""Of the network's arithmetic; `auto` is bf16 where the hardware multiplies it, else float32."""

Mirror = Literal["none", "sides", "all"]
"""Which mirror images are predicted too: none, left and right exchanged (2 in all), or every axis (8 in all)."""

N4 = Literal["off", "auto", "on"]
"""Which scans are corrected for uneven brightness."""
