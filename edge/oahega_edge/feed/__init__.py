"""What the daemon tells other programs on the device, over a local socket."""
