"""State files: registers, memory and records that can be run again on any target.

``state.py`` says what a state is, ``codec.py`` and ``text.py`` read and write it, ``capture.py`` takes one from a
result, ``replay.py`` runs and judges it with what ``witness.py`` says is permitted, ``shrink.py`` makes it small,
``elf.py`` makes a standalone ELF of it, ``bundle.py`` writes all that a maintainer needs.
``docs/reference/state-file.md`` is the format.
"""

from harness.state.codec import read_state
from harness.state.state import MemoryBlock, Needs, Origin, State, StateRecord
from harness.state.text import state_text

__all__ = ["MemoryBlock", "Needs", "Origin", "State", "StateRecord", "read_state", "state_text"]
