"""Recipes: modules that hold one `RECIPE` and whose docstring states command, cost and expected result."""
