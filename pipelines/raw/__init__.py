"""Raw: what landed, parsed once: one immutable folder a landed file, and what keeps an erased id out of it."""
