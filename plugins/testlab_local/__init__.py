"""The provider local: targets on this machine, without root."""
