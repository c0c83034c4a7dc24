"""The provider `hetzner`: servers of Hetzner Cloud, made for a run, labelled, and gone after it."""
