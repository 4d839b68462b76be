"""The embedded detector for an input of 480x360: faces half as far away again, for twice the time.

Command: python -m oahega_build train-detector --data DATA --recipe detector_far_480 --run far-480 \
    --set earlier=build/weights/detector
Cost: minutes, of which most choose the score: the weights stay, only the int8 ranges are measured anew.

For a camera that looks down a street. Where the people are always in one part of the picture, `camera.roi` is
cheaper: the detector sees that part alone, and a face in half of the picture's width is twice as large to it.
"""

import dataclasses

from oahega_build.recipes.detector_far_narrow_finish import RECIPE as FINISH

RECIPE = dataclasses.replace(FINISH, net=dataclasses.replace(FINISH.net, width=480, height=360), epochs=0)
