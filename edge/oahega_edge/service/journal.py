"""The log: lines for people at a terminal, structured fields in systemd's journal."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping

from oahega_edge.secret import masked

_log = logging.getLogger(__name__)
_PLAIN = logging.Formatter()

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""sd-daemon(3): a line that begins with <3> is an error to the journal."""


def configure(level: str, environment: Mapping[str, str]) -> None:
    """Send all records to standard error, or to the journal where systemd started this process.

    What ends a thread or the process unforeseen becomes a record, too. Secrets in addresses are hidden.
    """
    handler = _handler(environment)
    handler.addFilter(_without_secrets)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    sys.excepthook = lambda *error: _log.critical("the process ends", exc_info=error)
    threading.excepthook = lambda args: _log.critical(
        "a thread ends",
        exc_info=(args.exc_type, args.exc_value, args.exc_traceback),  # type: ignore[arg-type]
    )


def _without_secrets(record: logging.LogRecord) -> bool:
    record.msg, record.args = masked(record.getMessage()), ()
    if record.exc_info and not record.exc_text:
        record.exc_text = masked(_PLAIN.formatException(record.exc_info))
    return True


def _handler(environment: Mapping[str, str]) -> logging.Handler:
    if "JOURNAL_STREAM" not in environment:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        return handler
    try:
        from systemd.journal import JournalHandler
    except ImportError:  # without python3-systemd the level still gets through
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_PriorityFormatter("%(message)s"))
        return handler
    # Its fields: PRIORITY, LOGGER, THREAD_NAME, CODE_FILE, CODE_LINE, EXCEPTION_TEXT.
    journal: logging.Handler = JournalHandler(SYSLOG_IDENTIFIER="oahega-edge")
    return journal


class _PriorityFormatter(logging.Formatter):
    """Each line begins with the journal's priority, so that `journalctl -p warning` finds it."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
