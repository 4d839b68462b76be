"""Reads commands from the broker and holds them for the daemon.

Retained messages, topics whose last level is not a word, and everything while too many answers are on their
way are ignored and counted. Anything else that is wrong is answered with an error.
"""

from __future__ import annotations

import contextlib
import queue
import re
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from oahega_edge.contract.events import Message
from oahega_edge.contract.messages import (
    COMMANDS,
    CommandName,
    EmptyCommand,
    MuteCommand,
    Response,
    SetCommand,
)
from oahega_edge.contract.topics import Topics
from oahega_edge.errors import plain
from oahega_edge.publishers.port import Command
from oahega_edge.publishers.wire import Incoming, Token

LARGEST_PAYLOAD = 4096
"""Bytes."""
LARGEST_CORRELATION = 1024
"""Bytes."""
MOST_COMMANDS = 16
"""Commands that may wait for the daemon."""
MOST_ANSWERS = 64
"""Answers to bad commands that may be on their way; while there are more, commands are ignored."""

_WORD = re.compile(r"[a-z][a-z-]{0,31}")
_Payload = TypeVar("_Payload", bound=Message)


@dataclass(frozen=True, slots=True)
class Refused:
    """A bad command and the answer that it gets."""

    reply_to: str
    correlation: bytes | None
    response: Response


def read_command(message: Incoming, topics: Topics) -> Command | Refused | None:
    """The command in this message; None when it is to be ignored."""
    name = topics.command_name(message.topic)
    if message.retained or name is None or not _WORD.fullmatch(name):
        return None
    try:
        return _command(name, message, topics)
    except _Wrong as wrong:
        return Refused(
            reply_to=topics.response(name),
            correlation=message.correlation if _fits(message.correlation) else None,
            response=Response(command=name, status="error", error=str(wrong)),
        )


class _Wrong(Exception):
    """What is wrong with a command, in one sentence for its sender."""


def _command(name: str, message: Incoming, topics: Topics) -> Command:
    if name not in COMMANDS:
        raise _Wrong(f"there is no command {name!r}; there are {', '.join(COMMANDS)}")
    if len(message.payload) > LARGEST_PAYLOAD:
        raise _Wrong(f"the payload has {len(message.payload)} bytes, at most {LARGEST_PAYLOAD} are read")
    if not _fits(message.correlation):
        raise _Wrong(f"the correlation data is longer than {LARGEST_CORRELATION} bytes")
    if message.reply_to is not None and not topics.may_answer_on(message.reply_to):
        raise _Wrong(f"the response topic must lie below {topics.response('')}")
    settings: dict[str, int | float] = {}
    asked: CommandName = name
    if asked == "set":
        given = _payload(SetCommand, message.payload)
        settings = given.settings()
        if not settings:
            raise _Wrong("set names no setting; it takes smoothing.frames and trigger.threshold")
        transaction = given.transaction
    elif asked == "mute":
        mute = _payload(MuteCommand, message.payload)
        asked = "mute" if mute.muted else "unmute"
        transaction = mute.transaction
    else:
        transaction = _payload(EmptyCommand, message.payload).transaction
    return Command(
        name=asked,
        settings=settings,
        transaction=transaction,
        reply_to=message.reply_to or topics.response(name),
        correlation=message.correlation,
    )


def _payload(model: type[_Payload], payload: bytes) -> _Payload:
    try:
        return model.model_validate_json(payload or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the payload"
        raise _Wrong(f"{plain(where[:100])}: {plain(first['msg'][:200])}") from error


def _fits(correlation: bytes | None) -> bool:
    return correlation is None or len(correlation) <= LARGEST_CORRELATION


class CommandQueue:
    """Holds a few commands for the daemon.

    The answers to bad ones are counted while they are on their way, so that a flood cannot fill the memory.
    """

    def __init__(self, topics: Topics) -> None:
        self.ignored = 0
        self._topics = topics
        self._waiting: queue.Queue[Command] = queue.Queue(MOST_COMMANDS)
        self._answers: set[Token] = set()

    def take(self, message: Incoming) -> Refused | None:
        """Queue a command for the daemon, or say how to refuse it."""
        read = read_command(message, self._topics) if len(self._answers) < MOST_ANSWERS else None
        if read is None:
            self.ignored += 1
        if not isinstance(read, Command):
            return read
        try:
            self._waiting.put_nowait(read)
        except queue.Full:
            busy = read.refused(f"{MOST_COMMANDS} commands wait already; try again later")
            return Refused(read.reply_to or self._topics.response(read.name), read.correlation, busy)
        return None

    def fetch(self) -> list[Command]:
        """All that wait."""
        commands = []
        with contextlib.suppress(queue.Empty):
            while True:
                commands.append(self._waiting.get_nowait())
        return commands

    def answering(self, token: Token | None) -> None:
        """The answer to a bad command is on its way."""
        if token is not None:
            self._answers.add(token)

    def answered(self, token: Token) -> None:
        """It arrived."""
        self._answers.discard(token)

    def forget_answers(self) -> None:
        """A new connection: those of the old one are gone."""
        self._answers.clear()
