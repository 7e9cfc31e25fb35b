"""Charging: what is asked is taken from the limits of the key and its tenant, or refused (429)."""

from __future__ import annotations

from verifier.access.callers import Caller
from verifier.access.limits import Over
from verifier.errors import BadRequest
from verifier.wire.limits import retry_after


def charge(caller: Caller | None, units: int) -> None:
    """Take units, all or none. Raises BadRequest when a limit does not admit them."""
    if caller is not None and (over := caller.take(units)) is not None:
        raise beyond(caller, over)


def beyond(caller: Caller, over: Over) -> BadRequest:
    """What is said of a request for which too little is left of a limit."""
    rate = caller.shares[over.name].rate
    seconds = retry_after(over.seconds)
    whose = f"key {caller.label}" if over.name == "key" else f"tenant {caller.tenant.name}"
    tight = over.name == "key" and caller.is_tight
    detail = (
        f"the {whose} may ask {rate.units:g} a second, {rate.burst:g} at once; expected this "
        f"request {seconds} s later (GET /v1/limits tells what is left)"
    )
    if tight:
        detail = (
            f"{detail}. It is held back, since its questions were as those of somebody who guesses "
            "numbers; whoever runs the service can tell until when"
        )
    return BadRequest(
        "abnormal_usage" if tight else "quota_exceeded",
        detail,
        members={"violated-policies": [over.name], "retry_after": seconds},
        headers={**caller.fields_beyond(over), "Retry-After": str(seconds)},
    )
