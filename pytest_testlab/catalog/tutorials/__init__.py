"""Executable Markdown: pages whose marked blocks are run on a target, in order, as their reader would."""
