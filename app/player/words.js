// What the words and symbols of the player mean: said where they stand, and in a list below it.

const WORDS = {
  decay: ["decay", "the first stage of a token: the memory is scaled"],
  erase: ["erase", "the second stage: what the memory answers to the key is taken away, as far as the erase gate \u03b2 says"],
  write: ["write", "the third stage: the value is added under the key"],
  memory: ["S", "the memory, a matrix: rows are value channels, columns are key channels"],
  S: ["|S|", "the length of the memory: the root of the sum of its squared entries"],
  u: ["|u|", "the length of the error: what was to be written, less what the memory answered to the key"],
  o: ["|o|", "the length of the answer to the query"],
  answer: [
    "answers",
    "what the memory gives to the query: the values written so far that the answer is made of, each with its share. "
      + "1 is the value itself, shares below 1 in all are a faint answer, a minus sign is a value turned round",
  ],
  glyph: [
    "picture of an answer",
    "each value has a picture of 8 x 8; the answer is their sum in the same shares: two pictures on top of each other, "
      + "or a faint one",
  ],
  rank: ["effective rank", "how many directions the memory uses"],
  spectrum: ["spectrum", "what a token does to each direction of key space: 1 keeps it, 0 erases it, below 0 turns it round"],
  scale: [
    "scale",
    "one colour scale for all memories; its ends are the largest entry. A memory that overflows has a scale of its own, "
      + "and so has every memory where own scales are chosen",
  ],
};

/** Make a word that says what it means when it is pointed at or touched. */
function word(name, text = WORDS[name][0]) {
  return make("span", { class: "word", "data-word": name }, text);
}

/** List all words. */
function listWords(list) {
  list.replaceChildren(...Object.values(WORDS).flatMap(([term, meaning]) => [make("dt", {}, term), make("dd", {}, meaning)]));
}
