"""What a target must show before it is judged: its translation regime, and whether its PAS share storage.

Decided by probes in the run, never by the target's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import TargetProtocolError
from harness.probe.address_space import va_of
from harness.probe.batch import Batch
from harness.probe.records import Op, Record, RecordFlag, RegisterEntry, Status, World, sysreg_encoding
from harness.targets.target import Layout, Target
from refmodel.features import Features
from refmodel.gpt.build import Geometry, GPTBuilder
from refmodel.gpt.decode import GPT_NoAccess, GPTL0Size, GPTRange_512MB
from refmodel.gpt.types import PGSe
from refmodel.memory import Memory
from refmodel.registers import Register
from refmodel.sysregs import CLIDR_EL1, DCZID_EL0, GPCCR_EL3, TCR_EL3, TTBR0_EL3
from refmodel.translation.el3 import EL3Regime

_PATTERN = 0x5EED_0000_C0DE_0001
_TABLE_BYTES = 4096
_STEP = 0x20_0000


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the run found out before judging.

    ``aliased``: data stored in one PAS is read back in every other (no memory encryption, no PAS tag in the way).
    ``prompt``: GPCCR_EL3 and GPTBR_EL3 are in use at once for pages that nothing has touched since an invalidation.
    ``clidr`` and ``dczid`` are read: which levels of cache there are, and what DC ZVA zeroes.
    """

    aliased: bool
    prompt: bool
    clidr: CLIDR_EL1
    dczid: DCZID_EL0


def read_register(target: Target, register: type[Register]) -> int:
    """A system register of the probe's PE, read by an MRS record."""
    if register.encoding is None:
        raise ValueError(f"{register.__name__} has no encoding")
    (result,) = target.run(Batch(records=[Record(0, Op.MRS, aux=sysreg_encoding(*register.encoding))]))
    if result.status != Status.DONE or result.taken:
        raise TargetProtocolError(f"the probe cannot read {register.__name__}: status {result.status}")
    return result.data0


def read_regime(target: Target, memory: Memory) -> EL3Regime:
    """The probe's EL3 regime; copies its stage-1 tables (level 0, and the level 1 tables it names) into ``memory``.

    Only the first 17 level 0 entries are in use, see ``address_space``.
    """
    ttbr0 = TTBR0_EL3(read_register(target, TTBR0_EL3))
    tcr = TCR_EL3(read_register(target, TCR_EL3))
    base = ttbr0.BADDR << 1
    level_0 = target.read_memory(base, _TABLE_BYTES)
    memory.write(base, level_0)
    for at in range(0, _TABLE_BYTES, 8):
        descriptor = int.from_bytes(level_0[at : at + 8], "little")
        if descriptor & 0b11 == 0b11:
            table = descriptor & 0xFFFF_FFFF_F000
            memory.write(table, target.read_memory(table, _TABLE_BYTES))
    return EL3Regime(ttbr0, tcr, Features.from_id_registers(target.info.id_registers))


def calibrate(target: Target, layout: Layout) -> Calibration:
    """Probe what the judge must know; uses the first page of the table window and the start of the test RAM."""
    return Calibration(
        aliased=_aliased(target, layout.test[0].base),
        prompt=_prompt(target, layout),
        clidr=CLIDR_EL1(read_register(target, CLIDR_EL1)),
        dczid=DCZID_EL0(read_register(target, DCZID_EL0)),
    )


def _aliased(target: Target, scratch: int) -> bool:
    """Store through the Root PAS with the check disabled, and load the same address through the three others."""
    others = (World.REALM, World.SECURE, World.NON_SECURE)
    records = [Record(0, Op.STORE, address=va_of(scratch, World.ROOT), value0=_PATTERN)]
    records += [Record(0, Op.LOAD, address=va_of(scratch, pas)) for pas in others]
    results = target.run(Batch(records=records))
    seen = [result.data0 for result in results[1:] if result.status == Status.DONE and not result.taken]
    return seen == [_PATTERN] * len(others)


def _prompt(target: Target, layout: Layout) -> bool:
    """Point GPTBR_EL3 at a table that denies pages nobody has touched, without invalidating; is each load refused?

    Table 0 (all Any) is in force for the batch, table 1 denies the test RAM and is set for one record at a time.
    """
    # A protected size above every L0GPTSZ: a calibration stays away from corners.
    geometry = Geometry(pgs=PGSe.PGS_64KB, pps=40, l0gptsz=GPTL0Size(GPCCR_EL3(target.info.id_registers["GPCCR_EL3"])))
    half = layout.tables.size // 2
    scratch = layout.test[0].base
    opened, closed = (GPTBuilder(geometry, base, half) for base in (layout.tables.base, layout.tables.base + half))
    for made in (opened, closed):
        for index in range(1 + (scratch >> geometry.l0gptsz)):
            made.table(index << geometry.l0gptsz)
    closed.contiguous(scratch, GPTRange_512MB, GPT_NoAccess)
    tables = [*opened.writes(), *closed.writes()]
    for pa, data in tables:
        target.write_memory(pa, data)
    records = [
        Record(0, Op.LOAD, address=va_of(scratch + number * _STEP, pas), flags=RecordFlag.TLBI_BEFORE)
        for number, pas in enumerate((*World, *World))
    ]
    own = {index: (register_entry(closed.gptbr),) for index in range(len(records))}
    context = (register_entry(opened.gptbr), register_entry(geometry.gpccr()))
    results = target.run(Batch(records=records, context=context, registers=own))
    for pa, data in tables:
        target.write_memory(pa, bytes(len(data)))
    return all(result.status == Status.DONE and result.taken for result in results)


def register_entry(register: Register) -> RegisterEntry:
    """A register as the probe sets it."""
    if register.encoding is None:
        raise ValueError(f"{type(register).__name__} has no encoding")
    return RegisterEntry(sysreg_encoding(*register.encoding), register.value)
