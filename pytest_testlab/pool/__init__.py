"""The targets of a run: provisioning, blanking, proof."""
