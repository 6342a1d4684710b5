"""Sockets that pynetdicom leaves open when a peer is gone are closed within the test that made them."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_sockets_left() -> Iterator[None]:
    yield
    gc.collect()
