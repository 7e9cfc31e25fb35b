"""msgspec and orjson alone: ``python -m bench.peers.codec REQUEST RESPONSE SECONDS``.

Decodes the body of a batch into its structures and encodes its answer from dicts, again and again;
prints how often and how long that took.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from time import perf_counter, process_time

import msgspec
import orjson

from verifier.api.codec import Batch


def main() -> None:
    """Print the figures as JSON."""
    request, response = (Path(file).read_bytes() for file in sys.argv[1:3])
    seconds = float(sys.argv[3])
    decode = msgspec.json.Decoder(Batch).decode
    answer = orjson.loads(response)
    gc.collect()
    gc.freeze()
    rounds = 0
    begin, used = perf_counter(), process_time()
    while perf_counter() - begin < seconds:
        for _ in range(20):
            decode(request)
            orjson.dumps(answer)
        rounds += 20
    told = {
        "rounds": rounds,
        "seconds": perf_counter() - begin,
        "cpu": process_time() - used,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
