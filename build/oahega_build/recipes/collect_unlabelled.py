"""Faces without labels from photographs, with a margin, for `pack`: teachers say what they show.

Command: python -m oahega_build collect --source SCENES --data DATA --recipe collect_unlabelled
where SCENES holds a folder of photographs per source.
The margin makes the device's crop, as `Framing` has it, three quarters of a picture. What the embedded
network learned from had 0.173, as boxes were found then.
Cost: 5,102 photographs in about 7 minutes on two busy cores.
"""

import dataclasses

from oahega_build.recipes.collect_default import RECIPE as DEFAULT

RECIPE = dataclasses.replace(DEFAULT, margin=0.149, min_height=28, min_sharpness=20.0)
