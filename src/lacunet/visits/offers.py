"""Which results of a cohort are visits of one person, and the command that compares them."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from lacunet.data.names import person_of


def change_commands(
    results: Mapping[str, Path], persons: Mapping[str, str], output: Path, options: Sequence[str] = ()
) -> list[str]:
    """A command for every two visits of a person that follow each other, in the order of their names.

    Args:
        results: Folders of finished cases, by the case's name.
        persons: Whose cases these are, by the case's name, as far as it is known; else the name tells.
        output: Where the results lie; changes go beside it.
        options: Of `lacunet change`, such as the model.
    """
    visits: dict[str, list[str]] = defaultdict(list)
    for name in sorted(results):
        visits[persons.get(name) or person_of(name)].append(name)
    changes = output.with_name(f"{output.name or 'masks'}-changes")
    return [
        shlex.join(
            [
                "lacunet",
                "change",
                str(results[one]),
                str(results[two]),
                "-o",
                str(changes / f"{one}-to-{two}"),
                *options,
            ]
        )
        for names in visits.values()
        for one, two in pairwise(names)
    ]
