"""Firmware logs of RMM calls: read, and replayed on the model."""
