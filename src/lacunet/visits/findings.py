"""What was found of two visits, complete: the page and the record of a change are made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lacunet.task import Task
from lacunet.visits.numbers import Comparison
from lacunet.visits.pair import Pair
from lacunet.visits.placed import Laid, Tissue


@dataclass(frozen=True)
class Findings:
    """What was found of two visits.

    Attributes:
        pair: The visits.
        task: Names regions and sequences.
        laid: How the later visit lies on the earlier one.
        everything: From the sequences of each visit.
        common: From the sequences that both masks come from; None where there is none.
        tissue: By region, of the masks on which the verdict rests: what is new, gone and kept.
        verdict: In a sentence, without its full stop.
        warnings: Sentences that a reader must not miss.
        provenance: In the order in which it is printed.
    """

    pair: Pair
    task: Task
    laid: Laid
    everything: Comparison
    common: Comparison | None
    tissue: Mapping[str, Tissue]
    verdict: str
    warnings: Sequence[str]
    provenance: Mapping[str, str]
