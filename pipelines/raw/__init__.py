"""Raw: landed files parsed once, each into one immutable folder, and the register that keeps erased ids out of them."""
