"""Labels from teacher models: boxes for scenes, faces collected by class."""
