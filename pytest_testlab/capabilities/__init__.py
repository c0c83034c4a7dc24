"""What a test requires of a target."""
