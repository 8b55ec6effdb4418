"""RMI calls and a realm's events on a target, judged against the RMM model."""
