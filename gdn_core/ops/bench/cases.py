"""The cases of the benchmark, and their inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


@dataclass(frozen=True)
class Case:
    """A case of the benchmark.

    Args:
        name: its name, as ``--only`` takes it.
        what: "forward", "backward" (alone, after a forward pass that is not timed), "both" (forward and backward) or
            "decode" (one token, with a state).
        B: sequences.
        T: tokens.
        H: key heads.
        HV: value heads.
        K: key channels.
        V: value channels.
        dtype: of queries, keys and values.
        within: the multiple of its floor that is the target, printed with the result; 0 for no target.
        lengths: of packed sequences, T in all; none for a batch.
        rule: the write rule, as the functions are named after it.
    """

    name: str
    what: str
    B: int
    T: int
    H: int
    HV: int
    K: int = 128
    V: int = 128
    dtype: str = "float32"
    within: float = 0.0
    lengths: tuple[int, ...] = ()
    rule: str = "gated_delta_rule"

    @property
    def function(self) -> str:
        """The public function that is timed."""
        return f"{'fused_recurrent' if self.what == 'decode' else 'chunk'}_{self.rule}"

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths, default=self.T)

    @property
    def shape(self) -> str:
        """The sizes as text."""
        return f"B{self.B} T{self.T} H{self.H} HV{self.HV} K{self.K} V{self.V}"

    @property
    def tokens(self) -> str:
        """The batch and its tokens, or the packed lengths, as text."""
        if not self.lengths:
            return f"{self.B} x {self.T}"
        if len(set(self.lengths)) == 1:
            return f"packed {len(self.lengths)} x {self.lengths[0]}"
        return "packed " + " + ".join(str(n) for n in self.lengths)


# The gates of each rule, with the axis of those that have a number for each channel; the log decay is the first.
GATES: dict[str, dict[str, str]] = {
    "gated_delta_rule": {"g": "", "beta": ""},
    "kda": {"g": "K", "beta": ""},
    "gla": {"g": "K"},
    "gdn2": {"g": "K", "b": "K", "w": "V"},
}


def _gpu(what: str, tokens: tuple[int, int] | list[int], H: int, HV: int, rule: str = "gated_delta_rule") -> Case:
    """Return a case in bfloat16: of a batch and its tokens, or of packed lengths."""
    B, T = tokens if isinstance(tokens, tuple) else (1, sum(tokens))
    lengths = () if isinstance(tokens, tuple) else tuple(tokens)
    case = Case("", what, B, T, H, HV, dtype="bfloat16", lengths=lengths, rule=rule)
    name = "forward and backward" if what == "both" else what
    of = "" if rule == "gated_delta_rule" else f"{rule} "
    return replace(case, name=f"{of}{name} {case.tokens.replace(' x ', 'x')} heads {H}/{HV}")


CASES: dict[str, tuple[Case, ...]] = {
    "cpu": (
        Case("forward", "forward", 1, 4096, 8, 8, within=2.6),
        Case("forward and backward", "both", 1, 4096, 8, 8),
        Case("grouped heads", "forward", 1, 1024, 2, 8),
        Case("decode", "decode", 4, 1, 8, 8),
    ),
    "gpu": (
        *(_gpu("forward", *sizes) for sizes in (
            ((1, 8192), 16, 32), ((1, 8192), 16, 64), ((1, 32768), 16, 64), ([8192] * 4, 4, 16),
            ([24576, 8192], 16, 32), ((1, 32768), 2, 8), ((8, 4096), 32, 32), ((4, 8192), 16, 64), ([4096] * 8, 16, 64),
            ([1024, 7168], 16, 64), ([2048] * 4, 16, 48), ((1, 2048), 16, 32), ((1, 8192), 2, 8), ([1024] * 8, 16, 32),
        )),
        _gpu("decode", (256, 1), 16, 32),
        _gpu("decode", (1, 1), 16, 32),
        *(_gpu("both", *sizes) for sizes in (
            ((1, 8192), 16, 32), ((1, 2048), 16, 32), ((1, 32768), 16, 32), ((1, 32768), 4, 8), ([2048] * 4, 16, 32),
            ([1024] * 8, 8, 16), ((1, 512), 4, 8),
        )),
        *(_gpu(what, tokens, 16, 16, rule) for rule in ("kda", "gla", "gdn2") for what in ("forward", "both")
          for tokens in ((1, 8192), (1, 2048), [2048] * 4)),
        _gpu("decode", (256, 1), 16, 16, "kda"),
        *(_gpu("backward", *sizes) for sizes in (((1, 8192), 16, 32), ((1, 32768), 16, 32), ((1, 32768), 4, 8))),
    ),
}  # fmt: skip


def draw(case: Case, device: str) -> dict[str, Tensor]:
    """Draw the inputs of a case, the same in every process of a machine.

    Keys have length 1, log decays are those of a model, other gates lie between 0 and 1. Gates are float32. Those of a
    token that is decoded are the activations of logits in the case's dtype, which are there too, as "a" and "logits":
    FlashInfer takes these. "do" is the gradient of the outputs.
    """
    generator = torch.Generator(device).manual_seed(0)
    dtype = getattr(torch, case.dtype)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    B, T, H, HV, K, V = case.B, case.T, case.H, case.HV, case.K, case.V
    given = {
        "q": F.normalize(normal(B, T, H, K), dim=-1).to(dtype),
        "k": F.normalize(normal(B, T, H, K), dim=-1).to(dtype),
        "v": normal(B, T, HV, V).to(dtype),
    }
    widths = {"": (), "K": (K,), "V": (V,)}
    logits = {name: normal(B, T, HV, *widths[axis]) for name, axis in GATES[case.rule].items()}
    logits["g"] = -(logits["g"] + 3)
    if case.what == "decode":
        logits = {name: x.to(dtype) for name, x in logits.items()}
        given |= {"a": logits["g"], "initial_state": normal(B, HV, K, V)}
        given |= {"logits": logits["beta"]} if "beta" in logits else {}
    given |= {name: -F.softplus(x.float()) if name == "g" else x.float().sigmoid() for name, x in logits.items()}
    if case.what in ("backward", "both"):
        given["do"] = normal(B, T, HV, V).to(dtype)
    if case.lengths:
        given["cu_seqlens"] = torch.tensor((0, *case.lengths), device=device).cumsum(0)
    return given
