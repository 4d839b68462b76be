"""Does a damaged file that passes `parse_tflite` end the process? `python fuzz_interpreter.py CASES SEED`.

Prints counts as JSON. Each file that is accepted is run by LiteRT in a forked child.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections import Counter

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from oahega_edge.runtimes.tflite_file import parse_tflite
from tiny import NAMES, tiny

PATIENCE_S = 30


def damaged(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        changed[chance.randrange(len(changed))] ^= chance.randrange(1, 256)
    return bytes(changed)


def ending(content: bytes) -> str:
    """`ran`, `exception`, or the signal that ended the child."""
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            run(content)
        except Exception:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "ran", 1: "exception"}.get(code) or signal.Signals(-code).name


def run(content: bytes) -> None:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    interpreter.invoke()
    for output in interpreter.get_output_details():
        interpreter.get_tensor(output["index"])


def main(cases: int, seed: int) -> None:
    chance = random.Random(seed)
    originals = [tiny(name).path.read_bytes() for name in NAMES]
    counts: Counter[str] = Counter()
    for case in range(cases):
        content = damaged(originals[case % len(originals)], chance)
        try:
            parse_tflite(content)
        except ValueError:
            counts["refused"] += 1
        else:
            end = ending(content)
            counts[end] += 1
            if end not in ("ran", "exception"):
                print(f"case {case} of seed {seed}: {end}", file=sys.stderr)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
