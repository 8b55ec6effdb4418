"""Judging: stimulus and observation against the model's permitted set, and the tally that becomes a verdict."""
