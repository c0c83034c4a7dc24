"""The command testlab."""


def main() -> int:
    """Run the command line."""
    return 0
