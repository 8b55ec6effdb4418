"""The granule protection check: descriptors, walk, check, the tables' encoder and possible cached entries."""
