"""Why what people are asked for cannot be done: a word for the page's texts, a sentence for people."""

from __future__ import annotations

SENTENCES = {
    "off": "no samples are taken here: samples.consent does not allow it",
    "muted": "the device is muted; nothing is seen",
    "group": "trigger.min_group is set: single faces are not looked at",
    "no_state": "there is no state folder to keep anything in; set store.path",
    "nobody": "no face is in view; look into the camera and try again",
    "several": "several faces are in view; only a person alone is taken",
    "small": "the face is too small; come closer and try again",
    "replaced": "somebody pressed again; only the newest press counts",
    "stopped": "it was stopped; nothing was kept",
    "gone": "that picture is gone; press again",
    "no_label": "that is none of the expressions that are offered",
    "full": "there are as many samples as samples.most allows; fetch them and delete them, or raise it",
    "disk": "the device cannot write to its disk; nothing was kept",
    "undone": "the device cannot write to its disk; nothing was deleted",
    "no_code": "no sample on this device has this code; one that has expired here may lie with the operator",
}
"""By the word that the page's texts end with."""


class Refusal(ValueError):
    """It cannot be done; nothing has changed."""

    def __init__(self, word: str, detail: str = "") -> None:
        """`word`: a key of SENTENCES; `detail` is for the operator."""
        super().__init__(SENTENCES[word] + (f" ({detail})" if detail else ""))
        self.word = word
