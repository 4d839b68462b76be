"""The local control socket: `status`, `mute` and `unmute` without a network, and one daemon per folder."""
