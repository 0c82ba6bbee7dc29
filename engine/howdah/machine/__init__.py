"""The pure core: what an attempt may do next, given its journal. No I/O, clock or randomness."""
