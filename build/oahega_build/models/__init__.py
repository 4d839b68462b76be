"""The networks, in plain Keras layers that every TFLite converter understands."""
