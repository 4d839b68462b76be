"""The MQTT contract as an AsyncAPI 3 document: every topic with its message, QoS, retain and expiry.

https://www.asyncapi.com/docs/reference/specification/v3.0.0 and its MQTT binding 0.2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from oahega_edge.contract import cloudevents, defaults
from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import (
    COMMANDS,
    OFFLINE,
    ONLINE,
    Discovery,
    EmptyCommand,
    Health,
    Info,
    MuteCommand,
    Response,
    SetCommand,
    Showing,
    State,
)
from oahega_edge.contract.summary import IntervalSummary

JsonObject = dict[str, Any]
BINDING = "0.2.0"


@dataclass(frozen=True, slots=True)
class Sent:
    """One kind of message that the device sends."""

    name: str
    address: str
    model: type[BaseModel] | None
    """None: plain text."""
    summary: str
    qos: Literal[0, 1] = 1
    retain: bool = False
    expiry_s: int | None = None


SENT = (
    Sent(
        "availability",
        "{root}/{device}/availability",
        None,
        f"`{ONLINE}` on every connect, `{OFFLINE}` before a clean stop and as the last will.",
        retain=True,
    ),
    Sent("info", "{root}/{device}/info", Info, "Who the device is and how it is set up.", retain=True),
    Sent(
        "event",
        "{root}/{device}/event",
        Event,
        "One decision about one face. May come twice: the id tells.",
        expiry_s=defaults.EVENT_EXPIRY_S,
    ),
    Sent(
        "summary",
        "{root}/{device}/summary",
        IntervalSummary,
        "The visits that ended in an interval, together. May come twice: the id tells.",
        expiry_s=defaults.SUMMARY_EXPIRY_S,
    ),
    Sent(
        "state",
        "{root}/{device}/state",
        State,
        "What is seen now.",
        retain=True,
        expiry_s=defaults.STATE_EXPIRY_S,
    ),
    Sent(
        "showing",
        "{root}/{device}/showing",
        Showing,
        "What the screen beside the device shows.",
        retain=True,
        expiry_s=defaults.STATE_EXPIRY_S,
    ),
    Sent(
        "health",
        "{root}/{device}/health",
        Health,
        "How the device does.",
        qos=0,
        retain=True,
        expiry_s=defaults.HEALTH_EXPIRY_S,
    ),
    Sent(
        "discovery",
        "{discoveryPrefix}/device/{device}/config",
        Discovery,
        "Home Assistant's device discovery, where it is enabled.",
        retain=True,
    ),
)
_OWN_PAYLOAD: dict[str, type[BaseModel]] = {"set": SetCommand, "mute": MuteCommand}
RECEIVED = {name: _OWN_PAYLOAD.get(name, EmptyCommand) for name in COMMANDS}


def document() -> JsonObject:
    """The whole contract."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OAHEGA edge",
            "version": "1.0.0",
            "description": (
                "Facial expressions that a device sees, over MQTT 5. Where a broker speaks 3.1.1 only, "
                "nothing expires and there are no properties; all else is the same. No picture and no "
                "embedding is ever sent; a track says nothing about who somebody is."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _server()},
        "channels": {**_sent_channels(), **_command_channels()},
        "operations": {**_send_operations(), **_command_operations()},
        "components": {"schemas": _schemas(), "messages": _messages()},
    }


def _server() -> JsonObject:
    return {
        "host": "{broker}",
        "protocol": "mqtt",
        "protocolVersion": "5",
        "description": "The operator's broker; TLS (mqtts) by default on port 8883.",
        "variables": {"broker": {"default": "localhost:1883"}},
        "bindings": {
            "mqtt": {
                "cleanSession": False,
                "keepAlive": defaults.KEEPALIVE_S,
                "sessionExpiryInterval": defaults.SESSION_EXPIRY_S,
                "lastWill": {
                    "topic": "{root}/{device}/availability",
                    "qos": 1,
                    "message": OFFLINE,
                    "retain": True,
                },
                "bindingVersion": BINDING,
            }
        },
    }


def _parameters(address: str) -> JsonObject:
    known = {
        "root": {"default": defaults.ROOT, "description": "Set by mqtt.root; may have several levels."},
        "device": {"description": "Set by device.name."},
        "discoveryPrefix": {"default": defaults.DISCOVERY_PREFIX},
    }
    return {name: what for name, what in known.items() if f"{{{name}}}" in address}


def _channel(address: str, *messages: str) -> JsonObject:
    return {
        "address": address,
        "parameters": _parameters(address),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _sent_channels() -> JsonObject:
    return {sent.name: _channel(sent.address, sent.name) for sent in SENT}


def _command_channels() -> JsonObject:
    channels = {}
    for name in COMMANDS:
        channels[f"cmd-{name}"] = _channel(f"{{root}}/{{device}}/cmd/{name}", f"cmd-{name}")
        channels[f"response-{name}"] = _channel(f"{{root}}/{{device}}/response/{name}", "response")
    return channels


def _send_operations() -> JsonObject:
    return {
        f"send-{sent.name}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{sent.name}"},
            "summary": sent.summary,
            "messages": [{"$ref": f"#/channels/{sent.name}/messages/{sent.name}"}],
            "bindings": {"mqtt": _operation_binding(sent.qos, sent.retain, sent.expiry_s)},
        }
        for sent in SENT
    }


def _operation_binding(qos: int, retain: bool, expiry_s: int | None) -> JsonObject:
    expiry = {} if expiry_s is None else {"messageExpiryInterval": expiry_s}
    return {"qos": qos, "retain": retain, **expiry, "bindingVersion": BINDING}


def _command_operations() -> JsonObject:
    return {
        f"receive-{name}": {
            "action": "receive",
            "channel": {"$ref": f"#/channels/cmd-{name}"},
            "summary": f"Obeyed where commands are enabled. {RECEIVED[name].__doc__}",
            "messages": [{"$ref": f"#/channels/cmd-{name}/messages/cmd-{name}"}],
            "bindings": {"mqtt": _operation_binding(1, False, None)},
            "reply": {
                "channel": {"$ref": f"#/channels/response-{name}"},
                "messages": [{"$ref": f"#/channels/response-{name}/messages/response"}],
            },
        }
        for name in COMMANDS
    }


def _messages() -> JsonObject:
    made = {sent.name: _message(sent.name, sent.model) for sent in SENT}
    made["event"]["headers"] = {
        "type": "object",
        "description": "User properties: CloudEvents 1.0 attributes.",
        "properties": {key: {"type": "string"} for key in cloudevents.KEYS},
    }
    made |= {f"cmd-{name}": _message(f"cmd-{name}", model) for name, model in RECEIVED.items()}
    made["response"] = _message("response", Response)
    return made


def _message(name: str, model: type[BaseModel] | None) -> JsonObject:
    if model is None:
        payload: JsonObject = {"type": "string", "enum": [ONLINE, OFFLINE]}
        content_type = "text/plain"
    else:
        payload = {"$ref": f"#/components/schemas/{model.__name__}"}
        content_type = "application/json"
    return {
        "name": name,
        "contentType": content_type,
        "payload": payload,
        "bindings": {"mqtt": {"payloadFormatIndicator": 1, "bindingVersion": BINDING}},
    }


def _schemas() -> JsonObject:
    sent: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (each.model, "serialization") for each in SENT if each.model is not None
    ]
    sent.append((Response, "serialization"))
    received: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in dict.fromkeys(RECEIVED.values())
    ]
    _, made = models_json_schema([*sent, *received], ref_template="#/components/schemas/{model}")
    schemas: JsonObject = made["$defs"]
    return schemas
