"""Half and four fifths of the weights zero, three quarters and half of the channels, ten epochs each.

Command: python -m oahega_build prune artifacts/distill/student --data DATA --recipe prune_default
Cost: forty epochs of the model's own training, less for the narrower ones.
Expected: zeros change neither the file's length nor its time; channels change both. The figures are in the
    run's metrics.json.
"""

from oahega_build.experiments.prune_recipe import PruneRecipe

RECIPE = PruneRecipe()
