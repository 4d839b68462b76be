"""Judging one photograph, which has no second frame to confirm a face."""

from __future__ import annotations

import dataclasses
import logging

from oahega_edge.cameras.pictures import is_still
from oahega_edge.service.setup import Setup

log = logging.getLogger(__name__)


def judging(setup: Setup, source: str) -> Setup:
    """The setup for this source: of one picture each face counts at once, and that is said."""
    if not is_still(source):
        return setup
    settings = setup.settings
    log.warning(
        "%s is one picture: its faces count at once, whatever tracking.start_hits says; "
        "`oahega-edge read` reads the faces of pictures",
        source,
    )
    tracking = settings.tracking.model_copy(update={"start_hits": 1})
    return dataclasses.replace(setup, settings=settings.model_copy(update={"tracking": tracking}))
