"""How long work reports its progress. The command line draws it; `Silent` reports nothing."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """What watches long work."""

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        """So many parts of a job are done.

        Args:
            job: A name, such as `scoring cases` or a stage of a training; another name is another job.
            done: How many of its parts are done, from 0.
            total: How many there are.
            words: What a person reads beside the count.
        """

    def doing(self, words: str) -> None:
        """What is being done now, in a few words; it has no count."""

    def said(self, words: str) -> None:
        """A line that stays."""


class Silent:
    """Progress that nobody watches."""

    def advanced(self, job: str, done: int, total: int, words: str) -> None:
        """Say nothing."""

    def doing(self, words: str) -> None:
        """Say nothing."""

    def said(self, words: str) -> None:
        """Say nothing."""
