"""The open loop: what is sent at its moment whatever is still in flight, over plain sockets.

arrivals (the moments) · connections (HTTP/1.1, as little of it as the service speaks) · loop (the
one loop: timers, connections, replies). bench/ and the fault suite use it as well.
"""
