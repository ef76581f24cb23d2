// The entry at hand: pointed at, touched or reached by keys, marked in every map, with its numbers beside it.

class Tip {
  constructor(tip, said) {
    Object.assign(this, { tip, said });
    this.cell = null; // { r, map, i, j }
  }

  /** Belong to these cards from now on. */
  attach(cards) {
    this.cards = cards;
    this.aim(null);
  }

  /** Say what stands at the entry now: at token t, with this moment large. */
  show(t, moment) {
    Object.assign(this, { t, moment });
    this.place();
  }

  /** Move over the entries of rule r by keys, and say them. */
  read(key, r) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const began = this.cell?.r === r;
    const here = began ? this.cell : { r, map: "large", i: 0, j: 0 };
    if (key in moves) {
      const [down, right] = began ? moves[key] : [0, 0];
      const i = Math.min(Math.max(here.i + down, 0), here.map === "z" ? 0 : this.cards.V - 1);
      const j = Math.min(Math.max(here.j + right, 0), this.cards.K - 1);
      this.aim({ ...here, i, j });
    } else if (key === "m" || key === "M") {
      const names = this.cards.maps.filter((map) => map.r === r).map(({ name }) => name);
      const map = names[(names.indexOf(here.map) + 1) % names.length];
      this.aim({ ...here, map, i: map === "z" ? 0 : here.i });
    } else {
      return false;
    }
    this.said.textContent = [...this.tip.querySelectorAll("p")].map((p) => p.textContent).join(", ");
    return true;
  }

  point({ target, clientX, clientY }) {
    const frame = target.closest(".frame");
    if (!frame) return this.aim(null);
    const { left, top, width, height } = frame.getBoundingClientRect();
    const map = frame.dataset.map;
    const rows = map === "z" ? 1 : this.cards.V;
    const inside = (x, size) => Math.min(Math.max(Math.floor(x * size), 0), size - 1);
    const [i, j] = [inside((clientY - top) / height, rows), inside((clientX - left) / width, this.cards.K)];
    this.aim({ r: Number(frame.dataset.r), map, i, j });
  }

  aim(cell) {
    if (!cell && !this.cell) return;
    this.cell = cell;
    this.place();
  }

  /** Keep the numbers beside their map when the page scrolls, as long as it is in view. */
  follow() {
    if (!this.cell) return;
    const { top, bottom } = this.frame().getBoundingClientRect();
    if (bottom < 0 || top > window.innerHeight) this.aim(null);
    else this.place();
  }

  frame() {
    return this.cards.frame(this.cell.r, this.cell.map);
  }

  /** Mark the cell at hand in every map, and put its numbers beside its map, inside the window. */
  place() {
    const { cell, tip, marked, t } = this;
    if (!cell && !marked) return;
    this.marked = !!cell;
    const { maps, memories, V, K } = this.cards;
    const z = cell?.map === "z";
    for (const { name, spot, rows } of maps) {
      spot.style.display = cell && (name === "z") === z ? "block" : "none";
      if (!cell) continue;
      spot.style.left = `${(100 * cell.j) / K}%`;
      spot.style.top = `${(100 * cell.i) / rows}%`;
      spot.style.width = `${100 / K}%`;
      spot.style.height = `${100 / rows}%`;
    }
    tip.hidden = !cell;
    if (!cell) return;

    const memory = memories[cell.r];
    const n = cell.i * K + cell.j;
    const moment = cell.map === "large" ? this.moment : cell.map;
    const value = z ? memory.z[(t + 1) * K + cell.j] : memory.maps[moment][n];
    const chain = MOMENTS.map(({ name, sign }) =>
      make("li", { class: name === moment ? "this" : "" },
        make("span", {}, sign), make("span", {}, name), make("span", {}, number(memory.maps[name][n]))));
    tip.replaceChildren(
      make("p", { class: "tip-rule" }, `${memory.title} \u00b7 ${z ? "normaliser z" : moment}`),
      make("p", { class: "tip-value", "data-value": value }, number(value)),
      make("p", { class: "tip-place" }, `${z ? "" : `value channel ${cell.i}, `}key channel ${cell.j}`),
      ...(z ? [] : [make("ul", {}, ...chain)]),
    );
    const { left, right, top, bottom } = this.frame().getBoundingClientRect();
    const [width, height] = [document.documentElement.clientWidth - 8, window.innerHeight - 8];
    let x = right + 10;
    let y = top + ((cell.i + 0.5) / (z ? 1 : V)) * (bottom - top) - tip.offsetHeight / 2;
    if (x + tip.offsetWidth > width) x = left - 10 - tip.offsetWidth;
    if (x < 8) {
      // no room at either side
      x = left;
      y = top - 10 - tip.offsetHeight < 8 ? bottom + 10 : top - 10 - tip.offsetHeight;
    }
    tip.style.left = `${Math.max(8, Math.min(x, width - tip.offsetWidth))}px`;
    tip.style.top = `${Math.max(8, Math.min(y, height - tip.offsetHeight))}px`;
  }
}
