"""The decays of a write, counted from its own token on."""

from __future__ import annotations

from typing import Any

from derivations.engines import written
from derivations.engines.cases import Case
from derivations.engines.written import Kind
from derivations.models.errata import TWO_TOKENS, Erratum, against, erratum, in_letters, in_numbers
from derivations.papers import cite
from derivations.scope import Sizes
from gdn_core import reference

ENTRY = Erratum(
    title="The decay from a write to a later token counts the write's own decay.",
    printed=r"\gamma^{i \to r} = \prod_{t = i}^{r} \alpha_t",
    seen=(
        cite("2510.26692", "eqs. 3 to 5, sec. 3.1, as one machine transcription has them; its eqs. 6 to 9 are right"),
    ),
    numbers=TWO_TOKENS,
    gives="21/16",
    should_give="17/4",
    compared="the memory after token 2",
    proved_by=("write_weighs_the_decays_since", "chunk_by_channel_equals_recurrence"),
)


def writes_decayed_from(case: Case, start: int) -> Any:
    """Return the memory of two tokens from their errors, each decayed from ``start`` tokens after its write."""
    S, errors = case.S, []
    for t in range(2):
        u = case.x.w[t] * case.x.v[t] - (case.exp(case.x.g[t]) * S) @ (case.x.b[t] * case.x.k[t])
        S, _ = reference.step(S, case.x[t], exp=case.exp)
        errors.append(u[0] * case.x.k[t, 0])
    a1, a2 = (case.exp(case.x.g[t])[0, 0] for t in range(2))
    return decayed_from(start, case.S[0, 0], a1, a2, *errors), S[0, 0]


def decayed_from(start: int, s: Any, a1: Any, a2: Any, first: Any, second: Any) -> Any:
    """Return the memory of two tokens from the one before and two writes."""
    return a1 * a2 * s + (a2 * first + second if start else a1 * a2 * first + a2 * second)


def starts() -> tuple[Any, Any]:
    """Compute the memory of two tokens, each write decayed from its own token on, and from the next token on."""
    case = in_numbers(ENTRY)
    return writes_decayed_from(case, 0)[0], writes_decayed_from(case, 1)[0]


def start_residual(start: int) -> Any:
    """Compare the memory of two tokens with the code's, in letters."""
    made, code = writes_decayed_from(in_letters(2), start)
    return made - code


def written_writes() -> str:
    """Print the memory of two tokens."""
    scalars = written.letters(Kind.SCALAR, "S_0", r"\alpha_1", r"\alpha_2", r"u_1 k_1^\top", r"u_2 k_2^\top")
    return f"S_2 = {decayed_from(1, *scalars)}"


@erratum(ENTRY, starts, written_writes, code=(reference.step,))
def decays_of_a_write_start_behind_it() -> Any:
    """A write is decayed by the tokens after it, not by its own: the decay acts before the write."""
    right, code = writes_decayed_from(in_numbers(ENTRY), 1)
    return [*against(ENTRY, starts), right - code]


@decays_of_a_write_start_behind_it.step(engine="ring", scope=Sizes(C=2, dk=1, dv=1))
def decays_behind_the_write() -> Any:
    """In letters the errors, decayed from the token after each write, make the code's memory."""
    return start_residual(1)


@decays_of_a_write_start_behind_it.refute
def own_decay_counted() -> Any:
    """The write's own decay is counted."""
    return start_residual(0)


@decays_of_a_write_start_behind_it.refute
def own_decay_counted_without_a_memory() -> Any:
    """The same from an empty memory, where only the writes are left to differ."""
    made, code = writes_decayed_from(in_letters(2).from_zero(), 0)
    return made - code
