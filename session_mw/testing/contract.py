"""
What every store promises, as tests that a test class inherits.

Example::

    class TestMyStore(StoreContract):
        def make_store(self, clock):
            return MyStore(clock=clock)

    class TestMyStoreAsync(TestMyStore):
        def make_async(self, store):
            return MyAsyncStore(store)

The numbers in names (S21, G13) are those of the project's promises; a failing one says which is broken.
"""

from __future__ import annotations

from .contract_capacity import CapacityPromises
from .contract_ends import EndPromises
from .contract_touch import TouchPromises


class StoreContract(TouchPromises, EndPromises, CapacityPromises):
    """
    The promises of a store, as tests.

    Subclasses give ``make_store``; ``make_async`` too, to run the same tests through the asynchronous face.
    """
