// Package datasets makes image–text examples: questions about real pictures,
// with exact answers, in any number, from a seed.
//
// The pictures come from the emoji pack (datasets/pack, found through
// [github.com/tlqlab/tlqlab/internal/root]): 64×64 PNG files of two vendors,
// Noto and Twemoji, for some nine hundred concepts. LICENSES.md beside this
// file names sources, licences and the attribution they ask for.
//
// # Tasks
//
//   - emoji: one big emoji, "What is this?", four names of things alike.
//   - scene: a 4×4 board with 6 to 10 small emoji; the question names the place
//     or the thing to look for: name, position, neighbour or count.
//
// Every question stands after its picture, its answer is one to three words, and
// its four choices are drawn so that the text alone tells nothing: chance is 0.25.
//
// # Splits
//
// A concept–vendor pair belongs to exactly one of [Train], [Tuning] and [Test]. A
// hash of the concept decides: about 65% of the concepts have both vendors in Train;
// 23% have one vendor in Test and 12% one in Tuning, the other vendor in Train. So
// every name is learned, and every test picture is one that was never seen.
//
// # Determinism
//
// Example i depends on (task, split, seed, i) only, picture i of a training stream
// on (tasks, seed, i) only, through integer arithmetic, so that every machine
// makes the same bytes. [Hash] names the state of packs and generators.
package datasets

// Version numbers the generators. It goes up whenever the same seed would give
// other pictures, questions, answers or choices; a golden test insists.
const Version = 4
