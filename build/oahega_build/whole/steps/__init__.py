"""The steps of `all`, a module for each subject; each adds its steps to the plan."""
