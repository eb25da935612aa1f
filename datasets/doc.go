// Package datasets makes image–text examples: questions about pictures, with exact
// answers, in any number, from a seed; and it reads questions and conversations that
// lie in files ([OpenFolder], [Conversations]).
//
// Pictures are made of three packs (datasets/pack, found through
// [github.com/tlqlab/tlqlab/internal/root]): emoji, 64×64 PNG files of two vendors,
// Noto and Twemoji, for some nine hundred concepts; tables of real numbers; words.
// LICENSES.md beside this file names sources, licences and the attribution they ask for.
//
// # Tasks
//
//   - emoji: one big emoji, "What is this?", four names of things alike.
//   - scene: a board of 4 to 16 cells with 2 to 10 emoji; the question names the place
//     or the thing to look for: name, position, neighbour, count, what appears most often.
//   - chart: bars, dots or lines drawn from a real table, in colours or with labels:
//     largest, smallest, larger of two, value, count, how many are larger, highest line.
//   - text: one to four words in fifteen fonts: read a line, its colour, its first letter,
//     its length, find the line of a word.
//   - blur: an emoji that is blurred, noisy, pale or covered; a quarter of the pictures
//     show nothing that could be told, and the answer is "unanswerable".
//
// Every question stands after its picture, its answer is one to three words, and
// its choices are drawn so that the text alone tells nothing: chance is 0.25, and a
// little more for chart, where one question in eight has two choices.
//
// # Splits
//
// A concept–vendor pair belongs to exactly one of [Train], [Tuning] and [Test]. A
// hash of the concept decides: about 65% of the concepts have both vendors in Train;
// 23% have one vendor in Test and 12% one in Tuning, the other vendor in Train. So
// every name is learned, and every test picture is one that was never seen. A word
// belongs to one split by its hash, a table by a list (tables of one source together).
//
// # Determinism
//
// Example i depends on (task, split, seed, i) only, picture i of a training stream
// on (tasks, seed, i) only, through integer arithmetic, down to the outlines of letters,
// so that every machine makes the same bytes. [Hash] names the state of packs and generators.
package datasets

// Version numbers the generators. It goes up whenever the same seed would give
// other pictures, questions, answers or choices; a golden test insists.
const Version = 6
