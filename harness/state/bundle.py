"""What a maintainer gets: ``case.state``, ``case.elf``, ``run.sh`` and ``expected.txt`` in one directory."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import MisuseError
from harness.judge.cases import failure_text
from harness.judge.scene import stimulus_of
from harness.judge.stimulus import RET
from harness.judge.world import WorldScene
from harness.probe.records import Op
from harness.state.elf import allowed, standalone
from harness.state.items import judgeable
from harness.state.replay import Outcome, Player, Replay, batch_of
from harness.state.state import State
from harness.state.text import state_text
from harness.targets.qemu_machine import RAM, standalone_arguments

STATE, ELF, SCRIPT, EXPECTED = "case.state", "case.elf", "run.sh", "expected.txt"
_TIMEOUT: Final = 120.0
_LANE: Final = 16

_RUN_SH: Final = r"""#!/bin/sh
# {title}
# Exit status: 0 as the model permits, 1 deviates, 2 could not tell. With --bisect, 125 instead of 2, so that
# 'git bisect run' skips. QEMU names the command (default qemu-system-aarch64), TIMEOUT the seconds (default 30).
cd "$(dirname "$0")" || exit 2
unsure=2
[ "$1" = --bisect ] && unsure=125
output=$(timeout -k 5 "${{TIMEOUT:-30}}" ${{QEMU:-qemu-system-aarch64}} {arguments} </dev/null 2>&1)
status=$?
printf '%s\n' "$output"
case "$status:$output" in
    0:*"realmcheck case: permitted"*) exit 0 ;;
    1:*"realmcheck case: deviates"*) exit 1 ;;
    124:*"realmcheck case: running"*) exit {hang} ;;
    1[3-5][0-9]:*"realmcheck case: running"*) exit {crash} ;;
esac
exit "$unsure"
"""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What was written; ``elf`` is False where the target has no probe to make one of."""

    directory: Path
    elf: bool

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in the order in which to read them."""
        names = (EXPECTED, STATE, *((ELF, SCRIPT) if self.elf else ()))
        return tuple(self.directory / name for name in names)


def write_bundle(directory: Path, player: Player, state: State, seen: Replay, probe: Path | None) -> Bundle:
    """Write everything for a state that the player has just run; MisuseError when it cannot be written."""
    info = player.session.target.info
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / STATE).write_text(state_text(state), encoding="utf-8")
        (directory / EXPECTED).write_text(_expected(state, seen, f"{info.name} {info.version}"), encoding="utf-8")
        if probe is None:
            return Bundle(directory=directory, elf=False)
        (directory / ELF).write_bytes(_image(player, state, seen, probe))
        script = directory / SCRIPT
        script.write_text(_script(state, seen), encoding="utf-8")
        script.chmod(0o755)
    except OSError as error:
        where = error.filename or directory
        raise MisuseError(f"{where}: cannot be written: {error.strerror}; free space or choose another -o") from None
    return Bundle(directory=directory, elf=True)


def run_script(bundle: Bundle, qemu: Sequence[str]) -> Outcome:
    """Run ``run.sh`` with this QEMU; MisuseError when it cannot be run."""
    try:
        done = subprocess.run(
            ["/bin/sh", str(bundle.directory / SCRIPT)],
            env={**os.environ, "QEMU": shlex.join(qemu)},
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome.CANNOT_TELL
    except OSError as error:
        raise MisuseError(
            f"/bin/sh: cannot be run: {error.strerror}; run {bundle.directory / SCRIPT} by hand"
        ) from None
    return Outcome(done.returncode) if done.returncode in list(Outcome) else Outcome.CANNOT_TELL


def _image(player: Player, state: State, seen: Replay, probe: Path) -> bytes:
    session = player.session
    windows_l1 = session.target.info.layout.windows_l1
    addresses = [player.va(state, index) for index in range(len(state.records))]
    # Where a record accesses memory that the state does not name, it finds zeros; a fetch finds RET.
    accessed = list(_accessed(player, state))
    lanes = [(pa, bytes(_LANE)) for _, pa in accessed]
    code = [(pa, RET.to_bytes(4, "little")) for op, pa in accessed if op is Op.FETCH]
    writes = [(pa, data) for pa, data in (*lanes, *code) if RAM.holds(pa, len(data)) and not _of_probe(player, pa)]
    return standalone(
        probe,
        batch_of(state, addresses).encode(),
        state.judged,
        memory=[*writes, *((block.pa, block.data) for block in state.memory)],
        windows=[((pa - windows_l1) // 8, int.from_bytes(data, "little")) for pa, data in session.windows.writes()],
        permitted=allowed(seen.testimony, session) if seen.testimony else [],
    )


def _accessed(player: Player, state: State) -> Iterator[tuple[Op, int]]:
    """Operations and the PAs that they access: the records' own, below EL3 those that the model has for them."""
    yield from ((record.op, record.pa) for record in state.records if record.pa is not None)
    given = judgeable(state, player.session)
    if not isinstance(given, str) and isinstance(given.scene, WorldScene):
        stimuli = filter(None, map(stimulus_of, given.items))
        yield from ((stimulus.kind.op, stimulus.pa) for stimulus in stimuli)


def _of_probe(player: Player, pa: int) -> bool:
    layout = player.session.target.info.layout
    return any(window.holds(pa) for window in (*layout.probe, layout.tables))


def _script(state: State, seen: Replay) -> str:
    crashed = "SIG" in seen.case.observed.fields.get("exit", "")
    unsure = '"$unsure"'
    return _RUN_SH.format(
        title=_one_line(state.title),
        arguments=_command(state),
        crash=1 if seen.lost and crashed else unsure,
        hang=1 if seen.lost and not crashed else unsure,
    )


def _command(state: State) -> str:
    return shlex.join(standalone_arguments(ELF, l0gptsz=state.needs.l0gptsz, pes=state.needs.pes))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _expected(state: State, seen: Replay, target: str) -> str:
    origin = state.origin
    by = f"by {origin.test}" if origin.test else ""
    lines = [
        f"{state.title}",
        f"observed on {target}"
        + (f"; first seen on {origin.target} {origin.version} {by}".rstrip() if origin.target else ""),
        "",
        failure_text(seen.case),
        *(["", f"not judged: {seen.reason}"] if seen.outcome is Outcome.CANNOT_TELL else []),
        "",
        "QEMU's command line",
        f"  qemu-system-aarch64 {_command(state)}",
        "exit status: 0 as the model permits, 1 deviates, 2 could not tell; run.sh tells QEMU's own failures apart",
    ]
    return "\n".join(lines) + "\n"
