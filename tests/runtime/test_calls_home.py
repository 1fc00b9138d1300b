"""Nothing calls home: a process that has a bundle opens no internet socket, in native code neither."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import no_internet
import pytest
from tiny_graphs import MakeBundle

PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
import no_internet
no_internet.forbid()
"""
ANSWER = """\
import time
from distill import load
bundle = load(sys.argv[2], threads=1)
end = time.monotonic() + 40
while time.monotonic() < end:
    bundle("fine")
    time.sleep(1)
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in no_internet.SOCKET, reason="needs Linux's filter of calls"
)


def status_of(program: str, *arguments: str) -> int:
    path = str(Path(no_internet.__file__).parent)
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name and name != "CI"}
    command = [sys.executable, "-c", PROGRAM + program, path, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def test_the_filter_kills_a_process_that_opens_an_internet_socket_and_no_other() -> None:
    program = "import socket, subprocess\nsocket.socket(socket.AF_UNIX)\n"
    assert status_of(program) == 0
    for family in ("AF_INET", "AF_INET6"):
        assert status_of(f"{program}socket.socket(socket.{family}, socket.SOCK_DGRAM)") == -signal.SIGSYS


@pytest.mark.slow
def test_a_process_that_loads_a_bundle_and_answers_for_40_seconds_opens_no_internet_socket(
    make_bundle: MakeBundle,
) -> None:
    """With ``ORT_DISABLE_TELEMETRY=0`` in the environment, onnxruntime 1.32 opens one after some ten seconds."""
    assert status_of(ANSWER, str(make_bundle())) == 0


@pytest.mark.parametrize("name", ["HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"])
def test_importing_distill_turns_telemetry_off(name: str) -> None:
    assert status_of(f"import os, distill; assert os.environ['{name}'] == '1'") == 0
