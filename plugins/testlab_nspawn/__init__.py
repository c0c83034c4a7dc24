"""The provider `nspawn`: systemd-nspawn hosts of this machine, each with its own systemd, network and sshd."""
