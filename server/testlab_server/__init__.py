"""The report server: pages over the store."""
