"""Faces without labels from photographs, with a margin, for `pack`: teachers say what they show.

Command: python -m oahega_build collect --source SCENES --data DATA --recipe collect_unlabelled
where SCENES holds a folder of photographs per source.
Cost: 5,102 photographs in about 7 minutes on two busy cores.
"""

import dataclasses

from oahega_build.recipes.collect_default import RECIPE as DEFAULT

RECIPE = dataclasses.replace(DEFAULT, margin=0.173, min_height=28, min_sharpness=20.0)
