"""The settings, sizes and widths of gates at which the kernels with gates by channel are checked."""

from __future__ import annotations

from dataclasses import replace

from derivations.models.channel_sizes import BY_CHANNEL, GDN2, GLA, KDA, gated
from derivations.models.kernel_sizes import AMPERE, BLACKWELL, HOPPER, LONG, MANY, MANY_STEPS, WIDE, Letters
from derivations.models.torch_sizes import Size
from gdn_core.rules import Gate

CHUNK = 32  # of these kernels
PIPELINED = replace(AMPERE, level="ttgir")

LENGTHS = tuple((Size(T, 20, 40, CHUNK, H=2, HV=4, rule=GDN2), AMPERE) for T in (1, 16, 64, 65, 150))
#: Real widths, and float32, which is multiplied in float64.
REAL = ((Size(70, 128, 128, CHUNK, HV=2, rule=KDA), AMPERE), (Size(70, 72, 40, CHUNK, HV=2, rule=KDA), WIDE))
EVERY_WIDTH = tuple((Size(33, 5, 3, CHUNK, rule=rule), AMPERE) for rule in BY_CHANNEL)
SEQUENCES = (
    (Size(150, 20, 40, CHUNK, HV=2, lengths=(70, 0, 1, 76), rule=KDA), AMPERE),
    (Size(100, 20, 40, CHUNK, HV=2, lengths=(33, 0, 32, 9), rule=GLA), AMPERE),
    (Size(40, 20, 40, CHUNK, H=2, HV=4, B=2, rule=KDA), AMPERE),
    (Size(40, 20, 40, CHUNK, remembers=False, rule=KDA), AMPERE),
    (replace(MANY, C=CHUNK, rule=KDA), AMPERE),
)
OTHERS = (
    (Size(65, 20, 40, CHUNK, HV=2, rule=KDA), HOPPER),
    (Size(65, 20, 40, CHUNK, HV=2, rule=GDN2), replace(HOPPER, dtype="bfloat16")),
    (Size(65, 20, 40, CHUNK, HV=2, rule=KDA), replace(BLACKWELL, dtype="float32")),
    (Size(65, 20, 40, CHUNK, HV=2, rule=GLA), replace(AMPERE, dtype="float16", state_v_first=True)),
)
TTGIR = (
    (Size(65, 20, 40, CHUNK, H=2, HV=4, rule=GDN2), PIPELINED),
    (Size(65, 20, 40, CHUNK, HV=2, rule=KDA), replace(HOPPER, level="ttgir")),
)
#: On symbols, where all tokens of a long sequence but some are zero.
SMALL: tuple[Letters, ...] = (
    (Size(3, 2, 1, CHUNK, H=2, HV=4, rule=GDN2), AMPERE, ()),
    (Size(5, 2, 2, CHUNK, lengths=(2, 0, 3), rule=KDA), AMPERE, ()),
    (Size(4, 2, 2, CHUNK, rule=GLA), AMPERE, ()),
    (Size(34, 2, 1, CHUNK, rule=GDN2), AMPERE, (0, 31, 32)),
    (Size(34, 2, 1, CHUNK, rule=KDA), replace(HOPPER, level="ttgir"), (15, 16, 33)),
)
LARGE = ((replace(LONG, C=CHUNK, rule=GDN2), "by_channel"),)
#: The backward pass.
BACKWARD = (
    *((Size(T, 20, 40, CHUNK, H=2, HV=4, rule=GDN2), AMPERE) for T in (1, 33)),
    (Size(110, 20, 40, CHUNK, HV=2, lengths=(36, 0, 1, 64), rule=KDA), AMPERE),
    (Size(34, 20, 40, CHUNK, B=2, remembers=False, rule=GLA), AMPERE),
    *(
        (Size(3, 5, 3, CHUNK, rule=gated(*widths)), AMPERE)
        for widths in (
            (Gate.SCALAR, Gate.KEY, Gate.SCALAR), (Gate.NONE, Gate.NONE, Gate.VALUE),
            (Gate.KEY, Gate.SCALAR, Gate.SCALAR),
        )
    ),
)  # fmt: skip
BACKWARD_REAL = (
    (Size(40, 128, 128, CHUNK, rule=KDA), AMPERE),
    (Size(33, 40, 40, CHUNK, rule=KDA), replace(BLACKWELL, dtype="float32")),
    (Size(33, 20, 40, CHUNK, rule=GLA), replace(AMPERE, dtype="float16", state_v_first=True)),
)
BACKWARD_TTGIR = ((Size(33, 20, 40, CHUNK, HV=2, rule=GDN2), replace(HOPPER, dtype="bfloat16", level="ttgir")),)
BACKWARD_SMALL: tuple[Letters, ...] = (
    (Size(2, 2, 1, CHUNK, HV=2, rule=GDN2), AMPERE, ()),
    (Size(3, 1, 2, CHUNK, lengths=(2, 0, 1), rule=KDA), AMPERE, ()),
    (Size(33, 2, 1, CHUNK, rule=GLA), AMPERE, (0, 31, 32)),
)
LARGE_BACKWARD = ((replace(LONG, C=CHUNK, rule=GDN2), "backward_by_channel"),)
#: Token by token.
MODES = (
    (Size(9, 128, 128, CHUNK, HV=2, rule=GDN2), replace(WIDE, state_v_first=True)),
    (Size(9, 20, 40, CHUNK, HV=2, B=2, rule=KDA),
     replace(HOPPER, dtype="bfloat16", normalise=True, state_v_first=True)),
    (Size(16, 20, 40, CHUNK, HV=2, lengths=(3, 0, 10), rule=GDN2), replace(AMPERE, normalise=True)),
    (Size(9, 20, 40, CHUNK, HV=2, rule=GLA), replace(PIPELINED, normalise=True)),
    (Size(5, 20, 40, CHUNK, HV=2, remembers=False, rule=gated(Gate.NONE, Gate.KEY, Gate.SCALAR)), AMPERE),
)
EVERY_WIDTH_OF_STEPS = tuple((Size(4, 5, 3, CHUNK, rule=rule), AMPERE) for rule in BY_CHANNEL)
SMALL_STEPS = SMALL[:3]
LARGE_STEPS = tuple(
    (replace(size, C=CHUNK, rule=GDN2), "recurrent_by_channel") for size in (LONG, MANY_STEPS)
)  # fmt: skip
