"""Every failure that the daemon foresees; `cli` turns each into one line and an exit code."""

LONGEST_QUOTE = 120
"""Most characters of foreign text in one error message."""


def plain(text: object) -> str:
    """Foreign text made fit for one log line: without control characters, and shortened."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[: 2 * LONGEST_QUOTE])
    return shown if len(shown) <= LONGEST_QUOTE else f"{shown[:LONGEST_QUOTE]}..."


class EdgeError(Exception):
    """Base of all foreseen failures. The text says what, with which value, and what to do now."""

    exit_code = 1


class SettingsError(EdgeError, ValueError):
    """The settings cannot be used; the text names every wrong key at once."""

    exit_code = 78  # EX_CONFIG: systemd does not restart on it


class BundleError(EdgeError):
    """The model bundle is not what its manifest says, or its manifest cannot be read."""

    exit_code = 78


class CameraError(EdgeError):
    """The camera or the file cannot be opened or read."""


class CameraStalled(CameraError, TimeoutError):
    """The camera is open and delivers no frame in time; the daemon reopens it."""


class NoFrameYet(CameraStalled):
    """The camera is open and its next frame is not due: a slow camera, or a pause that it may make."""


class EndOfSource(CameraError):
    """A file source has given its last frame; not a failure."""


class RuntimeMissing(EdgeError):
    """No TFLite runtime can be imported, or not the one that the settings name."""

    exit_code = 78


class AcceleratorError(EdgeError):
    """The accelerator is absent, died, missed its deadline or returned garbage."""


class PublishError(EdgeError):
    """An event could not be handed over."""
