"""Labels of drawn people, all of them given, for the tests of `all --detection`."""

from oahega_build.labelling.label import LabelRecipe, SourceSet

RECIPE = LabelRecipe(
    sets=(SourceSet("people", "people", complete=("face", "person")),),
    teachers=(),
    shards=2,
    held_block=2,
    held_every=3,
)
