package datasets

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// near fails when hits of n lie further from the expected rate than 4.5 standard
// errors: with a few dozen such checks on fixed seeds, a fair generator passes.
func near(t *testing.T, what string, hits, n int, rate float64) {
	t.Helper()
	const sigmas = 4.5
	if got := float64(hits) / float64(n); math.Abs(got-rate) > sigmas*math.Sqrt(rate*(1-rate)/float64(n)) {
		t.Errorf("%s: %d of %d = %.3f, want about %.3f", what, hits, n, got, rate)
	}
}

// TestBalance checks that slots, counts and cells are answers equally often.
func TestBalance(t *testing.T) {
	const n = 5000
	p := testPack(t)
	for _, task := range Tasks() {
		for _, split := range Splits() {
			slots, played := map[int]int{}, 0
			counts, cells := map[string]int{}, map[string]int{}
			for i := range n {
				e, _ := task.ask(p, split, 11, i)
				if len(e.Choices) == choices {
					slots[slices.Index(e.Choices, e.Answers[0])]++
					played++
				}
				switch kind, _, _ := strings.Cut(e.Attribute, ","); kind {
				case "count":
					counts[e.Answers[0]]++
				case "position":
					cells[e.Answers[0]]++
				}
			}
			what := task.Name + " " + string(split)
			for slot := range choices {
				near(t, what+" slot "+strconv.Itoa(slot), slots[slot], played, 0.25)
			}
			if task.Name != "scene" {
				continue
			}
			total := counts["1"] + counts["2"] + counts["3"] + counts["4"]
			for c := 1; c <= 4; c++ {
				near(t, what+" count "+strconv.Itoa(c), counts[strconv.Itoa(c)], total, 0.25)
			}
			if len(cells) != 16 {
				t.Errorf("%s: positions asked for are %v, want all 16 cells", what, cells)
			}
		}
	}
}

// TestBlindGuessing lets a guesser that sees no picture learn, from half of the
// examples, how often each choice is right, in general and after each word of the
// question, and play on the other half of the same split. It must stay at chance.
func TestBlindGuessing(t *testing.T) {
	const n = 8000
	p := testPack(t)
	for _, task := range Tasks() {
		for _, split := range Splits() {
			shown, right := map[string]float64{}, map[string]float64{}
			features := func(e Example, choice string) []string {
				all := []string{choice}
				for _, word := range strings.Fields(e.Question) {
					all = append(all, word+"|"+choice)
				}
				return all
			}
			hits, played := 0, 0
			kinds := map[string][2]int{}
			for i := range n {
				e, _ := task.ask(p, split, 23, i)
				if played++; played <= n/2 {
					for _, c := range e.Choices {
						for _, f := range features(e, c) {
							shown[f]++
							if c == e.Answers[0] {
								right[f]++
							}
						}
					}
					continue
				}
				best, guess := math.Inf(-1), ""
				for _, c := range e.Choices {
					score := 0.0
					for _, f := range features(e, c) {
						score += math.Log((right[f] + 1) / (shown[f] + 4))
					}
					if score > best {
						best, guess = score, c
					}
				}
				k := kinds[e.Attribute]
				k[1]++
				if guess == e.Answers[0] {
					hits++
					k[0]++
				}
				kinds[e.Attribute] = k
			}
			near(t, task.Name+" "+string(split)+" blind", hits, n/2, task.Chance)
			if task.Name == "scene" {
				for kind, k := range kinds {
					near(t, task.Name+" "+string(split)+" blind "+kind, k[0], k[1], task.Chance)
				}
			}
		}
	}
}
