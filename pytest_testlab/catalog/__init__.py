"""The catalog: entries read from testlab.toml, as pytest nodes."""
