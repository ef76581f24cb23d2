"""The tour: one page that shows any step of any lesson."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import streamlit as st

from app import compute, proofs, session, walk
from app.lessons import showing
from app.lessons.frame import BREAK, Control, Lit, Range, Row, Step, Text
from app.lessons.place import Place, starting
from app.lessons.registry import LESSONS
from app.lessons.showing import Shown
from app.markdown import plain
from app.player import player
from app.player.caption import Caption
from app.reel import reel
from app.views import rules, ways
from app.views.claims import VERDICTS, statement, strongest
from app.views.sentences import sorry
from derivations.workers import WorkerError
from gdn_core.rules import Source

GREY = "<style>.st-key-lesson-picture { opacity: 0.4; }</style>"
# Another step begins at its top; the same one stays where it was, since its script is the same.
TOP = "<script>/* {step} */ document.querySelector('[data-testid=stMain]').scrollTo(0, 0)</script>"
SHARES = (
    "The numbers in “answers …” are shares of the whole answer: one that holds two values whole has 0.5 of each. "
    "The other words and symbols are explained at the end of the picture."
)
MANY = 400  # rows of a table that the page shows; the files have all


def page() -> None:
    """Show the page."""
    session.leave()
    tour = walk.begin()
    for sentence in tour.sentences:
        st.warning(plain(sentence), icon=":material/link_off:")
    view(tour.place)


def view(place: Place) -> None:
    """Show a step: its question and controls, what answers it, and what is folded."""
    lesson, step = place.at
    st.html(TOP.format(step=f"{lesson.slug} {step.slug}"), unsafe_allow_javascript=True)
    _where(place)
    with st.container(key="step"):  # side by side where there is room; elsewhere the picture follows its controls
        with st.container(key="question"):
            st.markdown(f"# {lesson.title}")
            st.markdown(f"## {step.title}")
            st.markdown(step.question)
            if step.controls:
                with st.container(key="controls"):
                    for control in step.controls:
                        _control(place, control)
            shown = _shown(place)
        with st.container(key="lesson-picture"):
            if shown:
                _picture(*shown)
        _equation(place)
    _on(place, shown)
    _folded(place, shown)


def _where(place: Place) -> None:
    """Say which lesson and step this is, and offer the others."""
    lesson, _ = place.at
    with st.container(key="where", horizontal=True, vertical_alignment="center", gap="small"):
        number = list(LESSONS).index(lesson.slug) + 1
        st.caption(f"Lesson {number} of {len(LESSONS)}", width="content")
        for n, other in enumerate(lesson.steps, 1):
            here = other.slug == place.step
            st.button(
                str(n),
                key=f"step-{n}",
                type="primary" if here else "secondary",
                help=other.title,
                on_click=walk.go_to,
                args=(place.leading_to(lesson.slug, other.slug),),
            )
        if behind := place.beside(1):
            st.button("Next", on_click=walk.go_to, args=(behind,), key="onward", icon=":material/arrow_forward:")


def _control(place: Place, control: Control) -> None:
    given = walk.widget(place, control)
    if isinstance(control, Range):
        st.slider(control.label, control.low, control.high, step=control.step, **given)
    elif isinstance(control, Text):
        st.text_area(control.label, height="content", **given)
    elif isinstance(control, Row):
        st.text_input(control.label, **given)
    else:
        options = control.options
        st.segmented_control(control.label, list(options), format_func=options.__getitem__, required=True, **given)


def _shown(place: Place) -> tuple[Place, Shown] | None:
    """Return what is shown: of this place, or where that fails of the last that could be, greyed out."""
    tour, waits = walk.kept(), place.at[1].waits
    try:
        with st.spinner(waits) if waits else nullcontext():
            shown = showing.show(place)
    except (*compute.REFUSALS, WorkerError) as error:
        sorry(error)
        if tour.good is None:
            return None
        st.html(GREY)
        st.caption("Greyed out is the last picture that could be shown.")
        return tour.good, showing.show(tour.good)
    tour.good = place
    return place, shown


def _picture(place: Place, shown: Shown) -> None:
    key = f"{place.lesson}-{place.step}"
    if shown.moves:
        reel(shown.buffer, key=f"reel-{key}")
        return
    _, step = place.at
    caption = Caption(name=key, title=step.title)
    player(shown.buffer, key=f"player-{key}", token=step.token, caption=caption, reports=False, brief=True)
    st.caption(SHARES)


def _equation(place: Place) -> None:
    """Print the equation in parts, those at work on a ground of their own."""
    equation, where = place.at[1].written(dict(place.values))
    parts = [
        rf":orange-background[$\displaystyle {part.tex}$]"
        if isinstance(part, Lit)
        else "  \n"
        if part == BREAK
        else rf"$\displaystyle {part}$"
        for part in equation
    ]
    with st.container(key="equation"):
        st.markdown(" ".join(parts))
        if where:
            st.caption(where)


def _on(place: Place, shown: tuple[Place, Shown] | None) -> None:
    """Offer the steps before and behind, and the lab."""
    with st.container(horizontal=True, gap="small", key="on"):
        if before := place.beside(-1):
            st.button("Back", icon=":material/arrow_back:", on_click=walk.go_to, args=(before,), key="back")
        if behind := place.beside(1):
            following = "Next" if behind.lesson == place.lesson else f"Next lesson: {behind.at[0].title}"
            st.button(following, type="primary", on_click=walk.go_to, args=(behind,), key="next")
        if shown:
            where, what = shown
            st.page_link(ways.lab(), label=where.at[1].lab, icon=":material/science:", query_params=dict(what.lab))


@st.fragment
def _folded(place: Place, shown: tuple[Place, Shown] | None) -> None:
    """Offer the rules, why it is true, the numbers, the Python and all lessons; each is made when it is opened."""
    folds: list[tuple[str, Callable[[], None]]] = []
    where = place
    if shown:
        where, what = shown
        step = where.at[1]
        folds += [("Every rule and its equation", rules.rows)] * step.lineage + [
            ("Why it is true", lambda: _why(step)),
            ("The numbers", lambda: _numbers(step, what)),
            ("The Python that makes them", lambda: _python(step, what)),
        ]
    for title, show in (*folds, ("All lessons", lambda: _map(place))):
        fold = st.expander(title, key=f"{title}-{where.lesson}-{where.step}", on_change="rerun")
        if fold.open:
            with fold:
                show()


def _why(step: Step) -> None:
    """Show the claims that a step rests on: the conclusion, each step of the derivation in words, and the verdict."""
    ledger = proofs.ledger()
    for name in step.claims:
        made = proofs.claims()[name]
        st.markdown(f"### {made.conclusion}")
        statement(made.tex)
        finding = ledger.finding(name)
        if finding is None:
            try:
                with st.spinner("Checking"):
                    finding = ledger.check(name)
            except WorkerError as error:
                sorry(error)
        verdict = VERDICTS[finding.result.verdict.value if finding else "unchecked"]
        st.markdown(f"{verdict} &nbsp; {strongest(made, finding)}")
        if made.assumptions:
            st.markdown("Assumed: " + " ".join(made.assumptions))
        st.markdown("\n".join(f"{n}. {one.summary} {one.details}" for n, one in enumerate(made.steps, 1)))
        st.markdown(f"Source: {_cited(made.source)}")
        st.page_link(ways.derivations(), label="The whole derivation", query_params={"claim": name})
    for where in step.sources:
        st.markdown(f"See also {_cited(where)}")


def _cited(where: Source) -> str:
    title = where.title or where.paper
    return f"[{title}]({where.url}), {where.place}" if where.url else f"{title}, {where.place}"


def _numbers(step: Step, shown: Shown) -> None:
    rows = showing.table(shown)
    with st.container(horizontal=True):
        files = {"csv": lambda: showing.csv(shown), "npz": lambda: showing.npz(shown.numbers)}
        for kind, make in files.items():
            st.download_button(kind.upper(), make, f"{step.slug}.{kind}", on_click="ignore", key=f"{kind}-{step.slug}")
    st.dataframe(rows[:MANY], hide_index=True)


def _python(step: Step, shown: Shown) -> None:
    name = f"{step.slug.replace('-', '_')}.py"
    st.download_button("Save it", shown.python, name, on_click="ignore", key=f"python-{step.slug}")
    st.code(shown.python, language="python")


def _map(place: Place) -> None:
    """List the lessons, and mark where one is."""
    with st.container(key="tour-map"):
        for n, lesson in enumerate(LESSONS.values(), 1):
            if st.button(
                f"{n}. {lesson.title} :small[{lesson.about}]",
                type="tertiary",
                icon=":material/my_location:" if lesson.slug == place.lesson else None,
                key=f"lesson-{lesson.slug}",
                wrap=True,
            ):
                walk.go_to(starting(lesson.slug))
                st.rerun()
