"""The pytest11 entry point: wiring only, inert without --testlab-*."""
