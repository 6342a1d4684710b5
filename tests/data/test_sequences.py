"""Names of files and descriptions of series, of several makers and in many languages: which sequence each names, and
whether it says that contrast agent was given.

Each line: the text, the sequence, and for T1 `after` or `before` contrast agent, or `?` where the words do not tell.
"""

import pytest

from lacunet.data.agent import says_agent
from lacunet.data.masks import is_tumour_mask, names_mask
from lacunet.data.sequences import is_sequence_word, sequence_named

