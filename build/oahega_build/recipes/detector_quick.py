"""A detector in a few minutes, to see that data and chain fit together; not for use.

Command: python -m oahega_build train-detector --data DATA --recipe detector_quick --run quick
Cost: about 3 minutes on 2 cores.
Expected: AP50 about .7 for faces, .2 for persons on the held-out pictures.
"""

import dataclasses

from oahega_build.recipes.detector_default import RECIPE as DEFAULT

RECIPE = dataclasses.replace(DEFAULT, epochs=2, examples=2000, warmup=50, calibration=50)
