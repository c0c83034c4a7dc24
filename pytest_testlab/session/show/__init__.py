"""What a person sees of a run: the block at the bottom of a terminal, a line for what happens, and a summary."""
