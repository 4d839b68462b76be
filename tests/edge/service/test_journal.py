import subprocess
import sys


def logged(*journal: str) -> str:
    """What a process writes to standard error for one warning of two lines."""
    script = (
        "import logging, sys; from oahega_edge.service.journal import configure;"
        "sys.modules['systemd'] = None;"  # as where python3-systemd is not installed
        f"configure('info', dict({list(zip(journal, journal, strict=True))!r}));"
        "logging.getLogger('x').warning('camera lost\\ntwice'); logging.getLogger('x').debug('no')"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr


def test_a_terminal_gets_the_time_and_the_level() -> None:
    first, second = logged().splitlines()

    assert first.endswith(" WARNING camera lost")
    assert second == "twice"


def test_the_journal_gets_each_lines_priority() -> None:
    assert logged("JOURNAL_STREAM").splitlines() == ["<4>camera lost", "<4>twice"]
