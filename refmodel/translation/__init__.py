"""Address translation, as far as the granule protection check needs it: the EL3 regime under which the probe runs."""
