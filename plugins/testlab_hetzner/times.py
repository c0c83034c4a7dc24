"""How long everything may take, in one place."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Times:
    """In seconds. All of a create is below the time after which a pool gives a slot up."""

    connect: float = 5.0
    """For the API to take a connection."""
    read: float = 30.0
    """For it to answer, or to go on answering."""
    call: float = 120.0
    """For a call with everything that is tried again."""
    pause: float = 1.0
    """Before the first time that a call is tried again; doubled with each, up to `longest_pause`."""
    longest_pause: float = 15.0
    prices: float = 20.0
    """For the price list, without which it goes as well; then it isn't asked for again for three times as long."""
    start: float = 240.0
    """For the actions of a create or a rebuild to end."""
    ssh: float = 180.0
    """From then on, until SSH leads in: cloud-init brings the host key."""
    ssh_pause: float = 2.0
    """The most between two attempts at that."""
    first_boot: float = 120.0
    """From then on, until cloud-init is through."""
    line: float = 10.0
    """For a line to a server that was there before."""
    create: float = 300.0
    """For a create with everything that is tried in its course; then what is under way ends by its own time."""
    refusal: float = 300.0
    """For which a type that was not to be had at a location isn't asked for there again."""
    first_poll: float = 4.0
    """From the begin of a wait for actions to the first look; see `actions.LATE` for later ones."""
    first_boot_poll: float = 10.0
    """The same where a server is to boot, which none does sooner."""
    longest_poll: float = 15.0
    gone: float = 60.0
    """For a server to leave the list after its delete."""
    first_gone: float = 3.0
    """From a delete to the first look at the list; later ones come half as late again each time."""
    gather: float = 0.3
    """For others to join a listing; threads take as long to come in a fast cloud."""
    settle: float = 1.0
    """The same, for a look whether servers are gone."""
    snapshot: float = 600.0
    """For a disk to be frozen."""
    off: float = 60.0
    """For a server to shut down by itself."""

    def faster(self, by: float) -> Times:
        """With all pauses shorter, for a cloud that is so much faster; what has a deadline keeps it."""
        pauses = ("pause", "longest_pause", "ssh_pause", "first_poll", "first_boot_poll", "longest_poll", "first_gone")
        return replace(self, **{name: getattr(self, name) / by for name in pauses})
