// What the memories answer, in the values that were written: as a picture and in words, to the query of the token and to
// the keys so far. The numbers are the engine's (gdn_core/lab/answers.py); here they are only drawn and said.

const SIDE = 8; // pixels of a glyph
const FAINT = 0.5; // an answer weaker than this, of a value at full strength, is called faint
const SHOWN = 0.05; // a smaller rest is not told
const LATER = 150; // ms after which the table is brought up to date while it is out of sight

class Answers {
  constructor(root) {
    this.root = root;
    this.table = root.querySelector(".answers");
    this.near = new IntersectionObserver(([{ isIntersecting }]) => {
      this.seen = isIntersecting;
      if (isIntersecting) this.fill();
    });
    this.near.observe(this.table);
  }

  /** Take the answers of a buffer, and make room for them in the cards and in the table. */
  load({ answers, rules }, floats, cards) {
    this.answers = answers;
    this.table.hidden = !answers;
    this.root.querySelector(".writes").hidden = !answers;
    this.cards = cards.map((card) => card.querySelector(".answer"));
    if (!answers) return this.cards.forEach((card) => card.replaceChildren());
    const view = ({ offset, shape }) => ({
      shape,
      data: floats.subarray(offset, offset + shape.reduce((a, b) => a * b, 1)),
    });
    this.arrays = Object.fromEntries(Object.entries(answers.arrays).map(([name, where]) => [name, view(where)]));
    this.glyphs = answers.glyphs.map((glyph) => glyph && pixelsOf(glyph.bits));
    this.places = this.cards.map((card) => place(card));
    this.own = new Glyph();
    this.root.querySelector(".writes").replaceChildren(this.own.canvas);
    const heads = ["key", "holds", ...rules.map(({ title }) => title)];
    this.table.querySelector("thead").replaceChildren(
      make("tr", {}, ...heads.map((name) => make("th", { scope: "col" }, name))));
    this.rows = Array.from({ length: this.arrays.asked.shape[1] }, () => {
      const [key, ...cells] = [make("th", { scope: "row" }), ...heads.slice(1).map(() => make("td"))];
      return { row: make("tr", {}, key, ...cells), key, cells: cells.map((cell) => place(cell)) };
    });
    this.table.querySelector("tbody").replaceChildren(...this.rows.map(({ row }) => row));
  }

  /** Bring everything up to date with token t. */
  say(t, colours) {
    if (!this.answers) return;
    Object.assign(this, { t, colours });
    this.places.forEach((where, r) => this.tell(where, this.answer(r, t, 0), "answers "));
    const value = this.arrays.written.data[t];
    this.own.show(this.mixture([{ value, share: 1 }]), colours, this.pictured([{ value, share: 1 }]));
    clearTimeout(this.waiting);
    if (this.seen) this.fill();
    else this.waiting = setTimeout(() => this.fill(), LATER);
  }

  /** Fill the table: a row for each key written so far, the newest first. */
  fill() {
    const { t, answers, rows } = this;
    if (!answers || t === undefined) return;
    const { asked, left, written } = this.arrays;
    const keys = asked.shape[1];
    rows.forEach(({ row, key, cells: [held, ...cells] }, n) => {
      const by = asked.data[t * keys + n]; // the token that wrote it last
      row.hidden = by < 0;
      if (by < 0) return;
      key.textContent = answers.keys[by];
      row.classList.toggle("queried", answers.keys[by] === answers.queries[t]);
      const value = written.data[by];
      held.glyph.show(this.mixture([{ value, share: 1 }]), this.colours, this.pictured([{ value, share: 1 }]));
      held.words.textContent = answers.values[value];
      cells.forEach((where, r) => this.tell(where, this.answer(r, t, n + 1), ""));
    });
    const rest = left.data[t];
    this.table.querySelector("caption").textContent = `What each memory answers after token ${t} to the keys written so far, the newest first. `
      + `The token asks for ${answers.queries[t]}.`;
    this.table.querySelector(".left").textContent = rest ? `${rest} earlier ${rest === 1 ? "key is" : "keys are"} not listed.` : "";
    this.table.dataset.token = t;
  }

  /** The p-th answer of rule r after token t; the first is to the query. */
  answer(r, t, p) {
    const { of, shares, named, others, total, rest } = this.arrays;
    const [, T, P, most] = of.shape;
    const n = (r * T + t) * P + p;
    const parts = Array.from({ length: most }, (_, m) => ({ value: of.data[n * most + m], share: shares.data[n * most + m] }));
    return { parts, named: named.data[n], others: others.data[n], total: total.data[n], rest: rest.data[n] };
  }

  tell({ glyph, words }, answer, before) {
    glyph.show(this.mixture(answer.parts), this.colours, this.pictured(answer.parts.slice(0, answer.named)));
    words.textContent = before + this.words(answer);
  }

  words({ parts, named, others, total, rest }) {
    if (!Number.isFinite(parts[0].share)) return "numbers that are not finite";
    const told = parts.slice(0, named).map(({ value, share }) => `${this.answers.values[value]} ${twoDigits(share)}`);
    if (told.length && others >= SHOWN) told.push(`others ${twoDigits(others)}`);
    if (!told.length && others >= SHOWN) told.push(`many values, ${twoDigits(others)} in all`);
    const unknown = rest >= SHOWN ? `${told.length ? "; " : ""}${twoDigits(rest)} of it is no value written here` : "";
    if (!told.length && !unknown) return "nothing";
    return `${total < FAINT && told.length ? "faintly " : ""}${told.join(", ")}${unknown}`;
  }

  /** Lay the glyphs of values on top of each other, each as strong as its share; null where a value has no glyph. */
  mixture(parts) {
    const sum = new Float32Array(SIDE * SIDE);
    for (const { value, share } of parts) {
      if (value < 0 || share === 0) continue;
      const glyph = this.glyphs[value];
      if (!glyph) return null;
      for (let n = 0; n < sum.length; n++) sum[n] += share * glyph[n];
    }
    return sum;
  }

  /** What a picture of these values shows. */
  pictured(parts) {
    const things = parts.filter(({ value, share }) => value >= 0 && share).map(({ value, share }) => {
      const thing = this.answers.glyphs[value]?.thing;
      return `${thing}${share === 1 ? "" : ` ${twoDigits(share)}`}`;
    });
    return `picture: ${things.join(" and ") || "nothing"}`;
  }

  stop() {
    clearTimeout(this.waiting);
  }
}

/** A canvas of 8 x 8 pixels. */
class Glyph {
  constructor() {
    this.canvas = make("canvas", { class: "glyph", role: "img", "aria-label": "picture" });
    this.pixels = new Pixels(this.canvas, SIDE, SIDE);
  }

  show(values, { linear }, label) {
    this.canvas.hidden = !values;
    if (!values) return;
    this.pixels.draw(values, 1, linear);
    this.canvas.setAttribute("aria-label", label);
  }
}

/** Put a glyph and its words into an element. */
function place(element) {
  const glyph = new Glyph();
  const words = make("span", { class: "told" });
  element.replaceChildren(glyph.canvas, words);
  return { glyph, words };
}

/** The pixels of a glyph from its bits in hexadecimal digits: 1 where it has ink. */
function pixelsOf(bits) {
  return Float32Array.from(bits.match(/./g).flatMap((digit) => [...parseInt(digit, 16).toString(2).padStart(4, "0")]), Number);
}

function twoDigits(x) {
  return x.toFixed(2).replace("-", "\u2212");
}
