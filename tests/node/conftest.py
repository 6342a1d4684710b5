"""pynetdicom leaves sockets to the garbage collector where a peer is gone: they go within the test that made them."""

import gc
import threading
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_sockets_left() -> Iterator[None]:
    gc.freeze()  # what is there before the test is not looked through after it
    yield
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("pynetdicom"):
            thread.join(15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
