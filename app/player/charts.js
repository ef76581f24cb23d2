// The charts below the player: a line at its token in each, and a click in one that moves the player.

/** Draw the line at token t into every chart of the page that says which of its axes counts tokens. */
function markCharts(t) {
  for (const chart of document.querySelectorAll(".js-plotly-plot")) {
    const layout = chart._fullLayout;
    const along = layout?.meta?.tokens;
    const room = chart.querySelector(".svg-container");
    if (!along || !room || !layout._plots) continue;
    const wanted = [];
    for (const { xaxis, yaxis } of Object.values(layout._plots)) {
      const axis = along === "x" ? xaxis : yaxis;
      const at = axis.l2p(t);
      if (!(at >= 0 && at <= axis._length)) continue;
      wanted.push(along === "x"
        ? { left: axis._offset + at, top: yaxis._offset, width: 0, height: yaxis._length }
        : { left: xaxis._offset, top: axis._offset + at, width: xaxis._length, height: 0 });
    }
    const lines = [...room.querySelectorAll(".token-line")];
    while (lines.length > wanted.length) lines.pop().remove();
    wanted.forEach((place, n) => {
      const line = lines[n] ?? room.appendChild(make("div", { class: "token-line", "aria-hidden": "true" }));
      const style = { position: "absolute", pointerEvents: "none", borderLeft: "", borderTop: "" };
      style[along === "x" ? "borderLeft" : "borderTop"] = "1.5px solid currentColor";
      for (const [name, size] of Object.entries(place)) style[name] = `${size}px`;
      Object.assign(line.style, style);
      line.dataset.token = t;
    });
  }
}

/** The token that stands where a chart was clicked, if any. */
function clickedToken({ target, clientX, clientY }) {
  const chart = target.closest?.(".js-plotly-plot");
  const along = chart?._fullLayout?.meta?.tokens;
  if (!along || target.closest(".modebar, .legend")) return null;
  const { left, top } = chart.querySelector(".svg-container").getBoundingClientRect();
  for (const { xaxis, yaxis } of Object.values(chart._fullLayout._plots)) {
    const [x, y] = [clientX - left - xaxis._offset, clientY - top - yaxis._offset];
    if (x < 0 || x > xaxis._length || y < 0 || y > yaxis._length) continue;
    return Math.round(along === "x" ? xaxis.p2l(x) : yaxis.p2l(y));
  }
  return null;
}
