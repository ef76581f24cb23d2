"""The derivations: what is claimed of the code, for which sizes, how it was checked, and what the check refutes."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import streamlit as st

from app import link, proofs, reader, session, walk
from app.lessons import registry
from app.markdown import plain
from app.views import ways
from app.views.claims import BADGES, VERDICTS, statement, strongest
from app.views.sentences import sorry
from derivations.claim import ENGINES
from derivations.residual import VALUE
from derivations.result import KINDS
from derivations.subjects import RENAMED
from derivations.workers import WorkerError

if TYPE_CHECKING:
    from derivations.claim import Claim, Step
    from derivations.result import Checked, Result

REFRESH = 1.5  # seconds between looks at what the background has checked
# What is opened begins at its top; the list, and what the browser goes back to, are where the reader left them.
WHERE = """<script>(() => {
  const main = () => document.querySelector("[data-testid=stMain]");
  if (!window.claimsRead) {
    const read = window.claimsRead = {places: {}, shown: null, back: false};
    const keep = () => { if (document.querySelector(".st-key-claims")) read.places[read.shown] = main().scrollTop; };
    addEventListener("click", () => { keep(); read.back = false; }, true);
    addEventListener("popstate", () => { keep(); read.back = true; }, true);
  }
  const read = window.claimsRead, name = NAME, back = read.back || !name;
  Object.assign(read, {shown: name, back: false});
  const to = back ? read.places[name] ?? 0 : 0, until = performance.now() + 3000;
  let stop = false;
  for (const type of ["wheel", "touchstart", "keydown"]) addEventListener(type, () => { stop = true; }, {once: true});
  const go = () => {
    if (stop || read.shown !== name) return;
    main().scrollTo(0, to);
    if (Math.abs(main().scrollTop - to) > 1 && performance.now() < until) requestAnimationFrame(go);
  };
  go();
})()</script>"""
MOD = re.compile(
    r"(?P<place>.*?):? ?(?P<off>\d+) mod (?P<prime>\d+) at (?P<at>\[.*?\]), and (?P<wrong>\d+) of (?P<all>\d+)"
)
LETTERS = re.compile(r"\b[kqvSab]\d")


def page() -> None:
    """Show the page."""
    session.leave()
    walk.leave()
    view(reader.linked_claim())


def view(name: str) -> None:
    """Show one claim, or all of them where the name is empty.

    Args:
        name: of a claim, as the link has it.
    """
    name = RENAMED.get(name, name)
    known = name in proofs.claims()
    with st.container(key="claims"):
        if known:
            _claim(proofs.claims()[name])
        else:
            if name:
                missing = f"The link asks for a claim named {name[:80]!r}, and there is none. Here are all of them."
                st.warning(plain(missing))
            _overview()
    st.html(WHERE.replace("NAME", json.dumps(name * known)), unsafe_allow_javascript=True)


def _link(name: str, *, place: str, label: str = "", icon: str | None = None) -> None:
    """Offer to go to a claim, or to all of them where the name is empty; the address follows."""
    label = label or f"{proofs.number(name)}. {proofs.claims()[name].conclusion}"
    if st.button(label, key=f"{place}-{name}", type="tertiary", icon=icon, wrap=True):
        reader.open_claim(name)
        st.rerun()


# All claims.


def _overview() -> None:
    st.title("Derivations")
    st.markdown(
        "Claims from linear attention to Gated DeltaNet, each checked by machine. A scope is of one of three kinds, "
        "which follow from what the check ran. Every claim comes with wrong variants that its check must refute."
    )
    st.markdown("\n".join(f"- {BADGES[kind]} {text}" for kind, text in KINDS.items()))
    try:
        text = reader.searched()
    except ValueError as error:
        sorry(error)
        text = ""
    st.text_input("Search the claims", placeholder="chunk, decay, mask, softplus", **reader.field())
    proofs.ledger().look()
    running = proofs.ledger().left > 0
    st.fragment(_list, run_every=REFRESH if running else None)(running, text)


def _list(running: bool, text: str) -> None:
    ledger = proofs.ledger()
    ledger.look()
    found = {name: ledger.finding(name) for name in proofs.claims()}
    if running and not ledger.left:
        st.rerun()  # nothing is left to wait for
    counts = proofs.counted(list(found.values()))
    said = " · ".join(f"{n} {VERDICTS[verdict]}" for verdict, n in counts.items())
    st.markdown(f"**{len(found)} claims**: {said}")
    kinds = proofs.kinds(list(found.values()))
    if any(kinds.values()):
        st.markdown("**Steps**: " + " · ".join(f"{n} {BADGES[kind]}" for kind, n in kinds.items()))
    if ledger.left:
        st.caption(f"This server is checking them now, {ledger.left} to go.")
    shown = proofs.found(text)
    if text:
        many = f"{len(shown)} of them {'has' if len(shown) == 1 else 'have'}" if shown else "None has"
        hint = "" if shown else " Leave a word out, or shorten one."
        st.markdown(f"{many} all words of “\u2068{plain(text)}\u2069”.{hint}")
    subject = ""
    for name, made in shown.items():
        if made.subject != subject:
            subject = made.subject
            st.header(subject)
        finding = found[name]
        left, right = st.columns([5, 4], vertical_alignment="center")
        with left:
            _link(name, place="all")
        with right:
            verdict = VERDICTS[finding.result.verdict.value if finding else "unchecked"]
            st.markdown(f"{verdict} &nbsp; {strongest(made, finding)}")


def _scope(step: Step, done: list[Checked]) -> str:
    """Print the scope of a step with its kind and the functions it ran; of several rules the one of highest degree."""
    ran = [each for each in done if each.kind]
    if not ran:
        return f":gray-badge[not checked yet] {step.scope}"
    most = max(ran, key=lambda each: each.degree)
    assert most.kind
    functions = ", ".join(f"`{name}`" for name in dict.fromkeys(name for each in ran for name in each.functions))
    return f"{BADGES[most.kind]} {most.scope}" + (f"; it ran {functions}" if functions else "")


# One claim.


def _claim(made: Claim) -> None:
    _link("", place="top", label="All claims", icon=":material/arrow_back:")
    st.title(made.conclusion)
    st.caption(f"Claim {proofs.number(made.name)} of {len(proofs.claims())} · {made.subject} · `{made.name}`")
    statement(made.tex)
    finding = _verdict(made)
    _derivation(made, finding.result if finding else None)
    _lessons(made)
    _mutants(made, finding.result if finding else None)
    _places(made)
    _code(made)
    _relations(made)
    for title, by in (("The claim before", -1), ("The next claim", 1)):
        if other := proofs.beside(made.name, by):
            st.header(title)
            _link(other, place=title)


def _verdict(made: Claim) -> proofs.Finding | None:
    """Offer to check the claim, and say what is known of it."""
    ledger = proofs.ledger()
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Check it now", icon=":material/play_arrow:", key=f"check-{made.name}", type="primary"):
            try:
                with st.spinner("Checking"):
                    ledger.check(made.name)
            except WorkerError as error:
                st.error(f"{str(error)[0].upper()}{str(error)[1:]}.")
        finding = ledger.finding(made.name)
        if finding:
            ago = max(0, round(time.time() - finding.when))
            since = "just now" if ago < 5 else f"{ago} s ago" if ago < 120 else f"{ago // 60} minutes ago"
            refuted = sum(mutant.verdict.value == "holds" for mutant in finding.result.mutants)
            st.markdown(
                f"{VERDICTS[finding.result.verdict.value]} · {refuted} of {len(finding.result.mutants)} wrong variants "
                f"refuted · {_seconds(finding.result.seconds)}, on this server, {since}"
            )
        else:
            st.markdown(VERDICTS["unchecked"])
    if finding:
        for fault in finding.result.faults:
            st.error(fault)
    return finding


def _derivation(made: Claim, result: Result | None) -> None:
    """Show the way from what is assumed to the conclusion, each line a step that was checked."""
    st.header("From what is assumed to the conclusion")
    if made.assumptions:
        st.markdown("Assumed:\n\n" + "\n".join(f"- {assumption}" for assumption in made.assumptions))
    for n, step in enumerate(made.steps, 1):
        with st.container(border=True):
            st.markdown(f"**{n}.** {step.summary}" + f"\n\n{step.details}" * bool(step.details))
            done = [done for done in result.steps if done.name == step.name] if result else []
            st.markdown(_scope(step, done))
            st.caption(f"by **{step.engine}**: {ENGINES[step.engine]}")
            if done:
                _outcome(done)
    st.markdown("So:")
    statement(made.tex)


def _outcome(done: list[Checked]) -> None:
    """Say how a step came out, over the rules that it was run for."""
    wrong = [each for each in done if each.verdict.value != "holds"]
    rules = f", for {len(done)} rules" if any(each.rule for each in done) else ""
    verdict = VERDICTS[wrong[0].verdict.value if wrong else "holds"]
    compared = sum(each.compared for each in done)
    each_time = f", in all {compared:,} comparisons" if compared > 1 else ""
    st.markdown(f"{verdict}" + (f": one side less the other is 0{each_time}" if not wrong else "") + rules)
    if unmodelled := dict.fromkeys(what for each in done for what in each.unmodelled):
        st.caption(f"Not modelled: {', '.join(unmodelled)}")
    for each in wrong:
        st.markdown(f"What is left{f' under {each.rule}' if each.rule else ''}:")
        _residual(each)


def _mutants(made: Claim, result: Result | None) -> None:
    st.header("Wrong variants, and what refutes them")
    st.markdown("Each changes one thing. It is refuted where its two sides differ: what is left is one less the other.")
    formulas = [each.residual for each in result.mutants if each.tex] if result else []
    if any(LETTERS.search(text) for text in formulas):
        st.caption(
            "Letters with indices are entries in the code: a is a decay, b the gate of the erase, w that of the write, "
            "each by its token; k, q and v by token and channel; S by row and column."
        )
    for mutant in made.mutants:
        done = [each for each in result.mutants if each.name == mutant.name] if result else []
        with st.container(border=True):
            st.markdown(f"**{_sentence(mutant.name)}.** {mutant.summary}" if _has_summary(mutant) else mutant.summary)
            if done:
                missed = [each for each in done if each.verdict.value != "holds"]
                shown = missed[0] if missed else done[0]
                told = ":red[:material/cancel: not refuted]" if missed else ":green[:material/check_circle: refuted]"
                st.markdown(f"{told}; left" + (f" under {shown.rule}" if shown.rule else "") + ":")
                _residual(shown)


def _residual(shown: Checked) -> None:
    """Show what is left of the difference of two sides: as a formula, as a number mod a prime, or as a sentence."""
    place = plain(shown.residual.rpartition(": ")[0] if shown.residual else "").strip()
    if shown.tex:
        value = shown.residual.partition(VALUE)[2]
        st.markdown(f"$\\displaystyle {shown.tex}$" + f", at {place}" * bool(place) + f": {plain(value)}" * bool(value))
    elif found := MOD.match(shown.residual):
        where = plain(" ".join(part for part in (found["place"], found["at"]) if part))
        st.markdown(
            f"${found['off']} \\bmod {found['prime']}$, at {where}: on random integers mod this prime the two sides "
            f"differ in {int(found['wrong']):,} of {int(found['all']):,} entries."
        )
    else:
        st.code(shown.residual or "0", language=None, wrap_lines=True)


def _has_summary(step: Step) -> bool:
    return step.summary != step.name


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _places(made: Claim) -> None:
    st.header("Source")
    where = made.source
    title = where.title or where.paper
    st.markdown(f"[{title}]({where.url}), {where.place}" if where.url else f"{title}, {where.place}")
    entry = proofs.erratum(made.name)
    if entry:
        st.markdown(f"**Printed:** {entry.title}")
        st.markdown(
            "\n".join(f"- {place.title or place.paper}, {place.place}" for place in entry.seen)
            or "It circulates; no single place is named."
        )
        st.markdown(f"In numbers, {entry.compared} is **{entry.gives}** and should be **{entry.should_give}**.")


def _code(made: Claim) -> None:
    st.header("The code it is about")
    for name, source in proofs.source(made.name):
        with st.expander(f"`{name}`"):
            st.code(source, language="python")
    with st.expander("The check itself"):
        st.code(proofs.check_source(made.name), language="python")


def _relations(made: Claim) -> None:
    for title, names in (("It uses", made.uses), ("Used by", proofs.used_by(made.name))):
        if names:
            st.header(title)
            for name in names:
                _link(name, place=title)


def _lessons(made: Claim) -> None:
    """Offer the steps of the tour that show the claim, and in the lab the tokens of the first."""
    shown_in = registry.showing(made.name)
    if shown_in:
        st.header("Shown in the tour")
    for lesson, step in shown_in:
        query = {"lesson": lesson.slug, "step": step.slug}
        st.page_link(ways.tour(), label=f"{lesson.title}: {step.title}", query_params=query)
    for _, step in shown_in[:1]:
        choice = step.stream(**step.start)
        query = link.to_query(choice) or {"preset": choice.preset}
        st.page_link(ways.lab(), label=f"In the lab: {step.title}", icon=":material/science:", query_params=query)


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
