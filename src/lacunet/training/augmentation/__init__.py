"""How training crops are moved and changed: random parameters first, then deterministic functions of them."""
