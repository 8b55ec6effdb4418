"""Targets: what a suite runs against (QEMU, the model itself, mutants, recorded batches, boards)."""
