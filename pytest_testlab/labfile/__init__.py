"""lab.toml: what a lab plays by itself, when, and where its server listens."""
