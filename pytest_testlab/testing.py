"""The in-memory provider and platform, for authors of plugins."""
