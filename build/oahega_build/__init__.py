"""Dataset to models to bundle: every stage is a module, every recipe a module of `recipes`."""
