"""Pytest runs in forked children: statuses in order, output kept apart, a killed child, and stopping early."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, sys
from pathlib import Path
from harness.forked import run_all
plain = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
runs = [([*plain, f"--rootdir={Path(name).parent}", name], Path(name + ".out")) for name in sys.argv[1:]]
print(json.dumps(list(run_all([*([run] for run in runs[:-2]), runs[-2:]], 2))))
"""

TESTS = {
    "test_slow_pass.py": "import time\ndef test():\n    time.sleep(1)\n    print('slow')\n",
    "test_fail.py": "def test():\n    assert False, 'seen'\n",
    "test_killed.py": "import os, signal\ndef test():\n    os.kill(os.getpid(), signal.SIGKILL)\n",
    "test_none.py": "",
    "test_state.py": "import sys\ndef test():\n    assert not hasattr(sys, 'left')\n    sys.left = 1\n",
    "test_state_again.py": "import sys\ndef test():\n    assert not hasattr(sys, 'left')\n    sys.left = 1\n",
}


def test_statuses_come_in_order_and_only_the_runs_of_a_group_share_a_process(tmp_path: Path) -> None:
    for name, text in TESTS.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-c", PROGRAM, *(str(tmp_path / name) for name in TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[0], [1], [-9], [5], [0, 1]]
    assert "seen" in (tmp_path / "test_fail.py.out").read_text()
    assert "1 passed" in (tmp_path / "test_slow_pass.py.out").read_text()


def test_a_run_stops_when_every_rule_asked_for_has_failed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "suites/gpt", "--target=mutant:gpf-as-permission-fault", "--scale=smoke"]
    command += ["--rule=GPC-045", "-q", "-p", "no:cacheprovider", f"--results={tmp_path}/results"]
    root = Path(__file__).parents[2]
    whole = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    short = subprocess.run(
        [*command, "--stop-when-rules-failed", f"--results={tmp_path}/short"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert whole.returncode == 1
    assert "every rule of --rule has failed" not in whole.stdout
    assert short.returncode == 2
    assert "every rule of --rule has failed" in short.stdout
