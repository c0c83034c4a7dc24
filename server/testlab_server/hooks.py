"""What the server registers with the lab: its commands."""
