"""Edit the text of the compiled kernels in every small way, and look which edits change no result.

``python -m derivations.kernel_edits`` runs the kernels of the chunk form and of decoding with each edit, at sizes that
have several chunks, segments and sequences. It takes about ten minutes on one core, so the tests run a sample.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from gdn_core.extras import need


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if every edit that was run is noticed or listed, 1 if not, 2 if nothing can be run."""
    parser = argparse.ArgumentParser(prog="python -m derivations.kernel_edits", description=__doc__)
    parser.add_argument("--step", metavar="N", type=int, default=1, help="run one edit of N; by default all")
    parser.add_argument("--first", metavar="N", type=int, default=0, help="the first one; by default 0")
    chosen = parser.parse_args(arguments)
    if chosen.step < 1 or chosen.first < 0:
        parser.error("--step: expected 1 or more, and --first 0 or more")
    say = sys.stdout.write
    try:
        need("torch", "triton")
    except ModuleNotFoundError as missing:
        say(f"{missing}\n")
        return 2
    if os.environ.get("TRITON_INTERPRET") == "1":
        say("TRITON_INTERPRET=1 is set: kernels are interpreted and not compiled\n")
        return 2
    from derivations.models.kernel_edits import CASES, LEFT_OUT, Passes
    from derivations.mutants.of_texts import reason

    began, counts = time.perf_counter(), Counter[str]()
    for edited in Passes(CASES).every(chosen.step, chosen.first):
        why = "" if edited.by else reason(edited.kernel, edited.edit)
        what = "raise" if edited.raises else "are refuted" if edited.by else "are listed" if why else "survive"
        counts[what] += 1
        if what == "survive":
            say(f"survives: {edited.kernel}, line {edited.edit.line + 1}: {edited.edit}\n")
            sys.stdout.flush()
    seconds = time.perf_counter() - began
    said = ", ".join(f"{number} {what}" for what, number in counts.items()) or "none"
    say(f"{sum(counts.values())} edits in {seconds:.0f} s: {said}; not edited: {', '.join(LEFT_OUT)}\n")
    return int(counts["survive"] > 0)


if __name__ == "__main__":
    sys.exit(main())
