"""The line to a target: SSH, HTTP through its front door, files."""
