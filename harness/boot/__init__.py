"""Booting a stack: ``prepare`` obtains it, ``machine`` starts QEMU, ``stages`` follows the boot on its consoles.

::

    machine = StackMachine(prepare(load("tfa-trp")), logs=directory)
    try:
        times = machine.boot(until="normal-world")      # TargetError subclasses say which stage failed and why
        machine.console("uart0")                        # a Console that goes on where the boot stopped reading
    finally:
        machine.power_off()
"""

from __future__ import annotations

from harness.boot.machine import StackMachine
from harness.boot.prepare import Prepared, prepare
from harness.boot.stages import How, Reached, StageFailedError

__all__ = ["How", "Prepared", "Reached", "StackMachine", "StageFailedError", "prepare"]
