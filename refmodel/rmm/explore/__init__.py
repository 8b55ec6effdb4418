"""Exhaustive exploration of the RMM model at small scope: every reachable state, held against invariants."""
