"""Calls that a log shows, held against the model: what is known of a state, and whether a result may have been."""
