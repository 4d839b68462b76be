"""`detector_far` for an input of 480x360: faces half as far away again, for a bit more than twice the time.

Command: python -m oahega_build train-detector --data DATA --recipe detector_far_480 --run far-480
Cost: as `detector_far`, times two.
Expected: about 660 million multiply-adds; not trained yet.

For a camera that looks down a street. Where the people are always in one part of the picture, `camera.roi` is
cheaper: the detector sees that part alone, and a face in half of the picture's width is twice as large to it.
"""

import dataclasses

from oahega_build.recipes.detector_far import RECIPE as FAR

RECIPE = dataclasses.replace(FAR, net=dataclasses.replace(FAR.net, width=480, height=360))
