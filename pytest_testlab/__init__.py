"""pytest-testlab: runs a catalog of self-hosted apps on disposable servers and makes every failure legible."""
