"""Reads commands from the broker and holds them for the daemon.

Retained messages, topics whose last level is not a word, and everything while too many answers are on their
way are ignored and counted. Anything else that is wrong is answered with an error.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from oahega_edge.contract.complaint import complaint
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
from oahega_edge.publishers.port import Command
from oahega_edge.publishers.wire import Incoming, Outgoing, Token

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
            reply_to=_reply_topic(name, message, topics),
            correlation=message.correlation if _fits(message.correlation) else None,
            response=Response(
                command=name, status="error", error=str(wrong), transaction=_transaction(message.payload)
            ),
        )


def _reply_topic(name: str, message: Incoming, topics: Topics) -> str:
    """Where the sender waits for the answer, also for the answer to a bad command."""
    if message.reply_to is not None and topics.may_answer_on(message.reply_to):
        return message.reply_to
    return topics.response(name)


def _transaction(payload: bytes) -> str | None:
    """The transaction of a command that is wrong otherwise; None when there is none to be found."""
    if len(payload) > LARGEST_PAYLOAD:
        return None
    try:
        given = json.loads(payload)["transaction"]
        return EmptyCommand(transaction=given).transaction
    except (ValueError, TypeError, KeyError, RecursionError):  # pydantic's ValidationError is a ValueError
        return None


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
        given = _payload(name, SetCommand, message.payload)
        settings = given.settings()
        if not settings:
            raise _Wrong("set names no setting; it takes smoothing.frames and trigger.threshold")
        transaction = given.transaction
    elif asked == "mute":
        mute = _payload(name, MuteCommand, message.payload)
        asked = "mute" if mute.muted else "unmute"
        transaction = mute.transaction
    else:
        transaction = _payload(name, EmptyCommand, message.payload).transaction
    return Command(
        name=asked,
        settings=settings,
        transaction=transaction,
        reply_to=_reply_topic(name, message, topics),
        correlation=message.correlation,
    )


def _payload(name: str, model: type[_Payload], payload: bytes) -> _Payload:
    try:
        return model.model_validate_json(payload or b"{}")
    except ValidationError as error:
        fields = ", ".join(field.alias or name for name, field in model.model_fields.items())
        raise _Wrong(f"{complaint(error)}; {name} takes {fields}") from error


def _fits(correlation: bytes | None) -> bool:
    return correlation is None or len(correlation) <= LARGEST_CORRELATION


class EchoTest:
    """Finds out whether commands reach us, with a message to ourselves on a topic that is no command.

    Some brokers (mosquitto 2.0) grant every subscription and silently keep the messages that may not be read.
    A broker that takes our message and does not give it back keeps commands from us as well.
    """

    def __init__(self, topics: Topics, on_verdict: Callable[[bool], None], patience_s: float = 2.0) -> None:
        """`on_verdict` is called from the connection's thread or a timer's."""
        self._topic = f"{topics.command('_echo')}"
        self._on_verdict = on_verdict
        self._patience_s = patience_s
        self._nonce = ""
        self._token: Token | None = None
        self._timer: threading.Timer | None = None

    def start(self, publish: Callable[[Outgoing], Token | None]) -> None:
        """On a new connection, from its thread."""
        self.stop()
        self._nonce = secrets.token_hex(8)
        self._token = publish(Outgoing(topic=self._topic, payload=self._nonce, expiry_s=5))

    def stop(self) -> None:
        """The connection is gone."""
        self._token = None
        if self._timer is not None:
            self._timer.cancel()

    def acknowledged(self, token: Token, refusal: str | None) -> bool:
        """Whether this was about our message; one that we may not write to ourselves proves nothing."""
        if token != self._token:
            return False
        if refusal is None:
            self._timer = threading.Timer(self._patience_s, self._on_verdict, [False])
            self._timer.daemon = True
            self._timer.start()
        return True

    def received(self, message: Incoming) -> bool:
        """Whether this is an echo, of this connection or an earlier one."""
        if message.topic != self._topic:
            return False
        if message.payload == self._nonce.encode():
            self.stop()
            self._on_verdict(True)
        return True


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
