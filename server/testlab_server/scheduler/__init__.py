"""The nights that a lab plays by itself: when, by whom, once, and what came of them."""
