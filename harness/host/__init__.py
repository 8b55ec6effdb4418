"""The Normal world of a booted stack: the probe at EL2 (``probe``, ``calls``, ``hygiene``), or Linux (``linux``)."""
