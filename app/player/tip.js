// The entry at hand: pointed at, touched or reached by keys, marked in every map, with its numbers beside it. And what
// the word means that is pointed at or touched.

class Tip {
  constructor(tip, said) {
    Object.assign(this, { tip, said });
    this.cell = null; // { r, map, i, j }
  }

  /** Belong to these cards from now on. */
  attach(cards) {
    this.cards = cards;
    this.word = null;
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
    const part = map === "z" ? this.cards.view.row : this.cards.view;
    const inside = (x, first, count) => first + Math.min(Math.max(Math.floor(x * count), 0), count - 1);
    const [i, j] = [inside((clientY - top) / height, part.i, part.rows), inside((clientX - left) / width, part.j, part.columns)];
    this.aim({ r: Number(frame.dataset.r), map, i, j });
  }

  aim(cell) {
    if (!cell && !this.cell) return;
    if (cell) this.word = null;
    this.cell = cell;
    this.place();
  }

  /** Say what a word means, beside it; or nothing any more. */
  explain(element) {
    if (!element && !this.word) return;
    this.aim(null);
    this.word = element;
    this.tip.hidden = !element;
    if (!element) return;
    const [term, meaning] = WORDS[element.dataset.word];
    this.tip.replaceChildren(make("p", { class: "tip-rule" }, term), make("p", { class: "tip-meaning" }, meaning));
    const { left, bottom, top } = element.getBoundingClientRect();
    const [width, height] = [document.documentElement.clientWidth - 8, window.innerHeight - 8];
    const below = bottom + 8 + this.tip.offsetHeight <= height;
    this.tip.style.left = `${Math.max(8, Math.min(left, width - this.tip.offsetWidth))}px`;
    this.tip.style.top = `${below ? bottom + 8 : Math.max(8, top - 8 - this.tip.offsetHeight)}px`;
  }

  /** Keep what is said beside its map or word when the page scrolls, as long as it is in view. */
  follow() {
    const { word } = this;
    if (!word && !this.cell) return;
    const { top, bottom } = (word ?? this.frame()).getBoundingClientRect();
    const inView = bottom >= 0 && top <= window.innerHeight;
    if (word) this.explain(inView ? word : null);
    else if (inView) this.place();
    else this.aim(null);
  }

  frame() {
    return this.cards.frame(this.cell.r, this.cell.map);
  }

  /** Mark the cell at hand in every map, and put its numbers beside its map, inside the window. */
  place() {
    const { cell, tip, marked, t } = this;
    if (!cell && !marked) return;
    this.marked = !!cell;
    const { maps, memories, K, view } = this.cards;
    const z = cell?.map === "z";
    const part = z ? view.row : view;
    const seen = cell && cell.i >= part.i && cell.i < part.i + part.rows && cell.j >= part.j && cell.j < part.j + part.columns;
    for (const { name, spot } of maps) {
      spot.style.display = seen && (name === "z") === z ? "block" : "none";
      if (!seen) continue;
      spot.style.left = `${(100 * (cell.j - part.j)) / part.columns}%`;
      spot.style.top = `${(100 * (cell.i - part.i)) / part.rows}%`;
      spot.style.width = `${100 / part.columns}%`;
      spot.style.height = `${100 / part.rows}%`;
    }
    if (this.word) return;
    tip.hidden = !cell;
    if (!cell) return;

    const memory = memories[cell.r];
    const n = cell.i * K + cell.j;
    const moment = cell.map === "large" ? this.moment : cell.map;
    const value = z ? memory.z[(t + 1) * K + cell.j] : memory.moment(moment)[n];
    const chain = MOMENTS.map(({ name, sign }) =>
      make("li", { class: name === moment ? "this" : "" },
        make("span", {}, sign), make("span", {}, name), make("span", {}, number(memory.moment(name)[n]))));
    tip.replaceChildren(
      make("p", { class: "tip-rule" }, `${memory.title} \u00b7 ${z ? "normaliser z" : moment}`),
      make("p", { class: "tip-value", "data-value": value }, number(value)),
      make("p", { class: "tip-place" }, `${z ? "" : `value channel ${cell.i}, `}key channel ${cell.j}`),
      ...(z ? [] : [make("ul", {}, ...chain)]),
    );
    const { left, right, top, bottom } = this.frame().getBoundingClientRect();
    const [width, height] = [document.documentElement.clientWidth - 8, window.innerHeight - 8];
    let x = right + 10;
    let y = top + ((cell.i - part.i + 0.5) / part.rows) * (bottom - top) - tip.offsetHeight / 2;
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
