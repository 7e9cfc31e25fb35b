"""msgspec and orjson alone: ``python -m bench.peers.codec REQUESTS RESPONSES SECONDS``.

Decodes the bodies of batches, a line each, into their structures and encodes their answers from
dicts, one after the other, as a service would that had nothing else to do. Prints how often, and
seconds.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from time import perf_counter, process_time

import msgspec
import orjson

from verifier.wire.questions import Batch


def main() -> None:
    """Print the figures as JSON."""
    requests, responses = (Path(file).read_bytes().splitlines() for file in sys.argv[1:3])
    seconds = float(sys.argv[3])
    decode = msgspec.json.Decoder(Batch).decode
    pairs = [
        (request, orjson.loads(response))
        for request, response in zip(requests, responses, strict=True)
    ]
    gc.collect()
    gc.freeze()
    rounds = 0
    begin, used = perf_counter(), process_time()
    while perf_counter() - begin < seconds:
        for request, answer in pairs:
            decode(request)
            orjson.dumps(answer)
        rounds += len(pairs)
    told = {
        "rounds": rounds,
        "seconds": perf_counter() - begin,
        "cpu": process_time() - used,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
