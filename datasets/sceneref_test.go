package datasets

import (
	"strconv"
	"strings"
	"testing"
)

// described is a board as a person would write it down: cell name → name of the thing.
type described map[string]string

func describe(p *pack, b *board) described {
	d := described{}
	for row := range b.rows {
		for column := range b.columns {
			if cell := row*b.columns + column; b.filled[cell] {
				d[string("ABCD"[column])+strconv.Itoa(row+1)] = p.index.Concepts[b.cells[cell].concept].Name
			}
		}
	}
	return d
}

// solve answers a question from the description alone, by the words of the
// question. It shares no code with the generator.
func (d described) solve(t *testing.T, question string) string {
	t.Helper()
	var where []string
	find := func(name string) {
		where = nil
		for _, column := range "ABCD" {
			for _, row := range "1234" {
				if d[string(column)+string(row)] == name {
					where = append(where, string(column)+string(row))
				}
			}
		}
	}
	text := strings.TrimSuffix(question, "?")
	if cell, ok := strings.CutPrefix(text, "What is at "); ok {
		return d[cell]
	}
	if text == "What appears most often" {
		counts := map[string]int{}
		for _, name := range d {
			counts[name]++
		}
		best, ties := "", 0
		for name, n := range counts {
			if n > counts[best] {
				best, ties = name, 0
			} else if n == counts[best] {
				ties++
			}
		}
		if ties > 0 {
			t.Fatalf("%q: %v has no most frequent thing", question, d)
		}
		return best
	}
	if name, ok := strings.CutPrefix(text, "Count: "); ok {
		find(name)
		return strconv.Itoa(len(where))
	}
	if name, ok := strings.CutPrefix(text, "Where is the "); ok {
		if find(name); len(where) != 1 {
			t.Fatalf("%q: %d places", question, len(where))
		}
		return where[0]
	}
	for words, step := range map[string][2]int{"left of": {-1, 0}, "right of": {1, 0}, "above": {0, 1}, "below": {0, -1}} {
		if name, ok := strings.CutPrefix(text, "What is "+words+" the "); ok {
			if find(name); len(where) != 1 {
				t.Fatalf("%q: %d places", question, len(where))
			}
			return d[string([]byte{where[0][0] + byte(step[0]), where[0][1] + byte(step[1])})]
		}
	}
	t.Fatalf("unknown question %q", question)
	return ""
}

// TestSceneAnswers solves every question again from the board's description.
func TestSceneAnswers(t *testing.T) {
	p := testPack(t)
	task, err := FindTask("scene")
	if err != nil {
		t.Fatal(err)
	}
	for _, split := range Splits() {
		for i := range 2000 {
			e, _ := task.ask(p, split, 3, i)
			b := exampleBoard(stream("scenes board", split, 3, i/4), p.pools[split][true])
			if got := describe(p, b).solve(t, e.Question); got != e.Answers[0] {
				t.Fatalf("%s %q: answer %q, the board says %q", e.ID, e.Question, e.Answers[0], got)
			}
		}
	}
}

// TestScenePictures does the same for the training stream, and counts the questions.
func TestScenePictures(t *testing.T) {
	p := testPack(t)
	kinds := map[string]int{}
	counts := map[string]int{}
	grids := map[grid]int{}
	for i := range 3000 {
		b, qas, _ := sceneText(p, 5, i)
		d := describe(p, b)
		n := len(d)
		grids[b.grid]++
		if n < 1 || n > boardMost || len(qas) < 2 || len(qas) > sceneQAs {
			t.Fatalf("board %d has %d filled cells and %d questions", i, n, len(qas))
		}
		asked := map[string]bool{}
		for _, qa := range qas {
			if asked[qa.Question] {
				t.Fatalf("board %d asks %q twice", i, qa.Question)
			}
			asked[qa.Question] = true
			if got := d.solve(t, qa.Question); got != qa.Answer {
				t.Fatalf("board %d %q: answer %q, the board says %q", i, qa.Question, qa.Answer, got)
			}
			kinds[strings.Join(strings.Fields(qa.Question)[:2], " ")]++
			if strings.HasPrefix(qa.Question, "Count") {
				counts[qa.Answer]++
			}
		}
	}
	if len(kinds) < 7 {
		t.Errorf("kinds of questions: %v", kinds)
	}
	for n := range 4 {
		total := counts["1"] + counts["2"] + counts["3"] + counts["4"]
		near(t, "training count "+strconv.Itoa(n+1), counts[strconv.Itoa(n+1)], total, 0.25)
	}
	for _, g := range []grid{grid2x1, grid2x2, grid3x2, grid3x3, grid4x4} {
		if grids[g] < 300 {
			t.Errorf("%d of 3000 boards are %s", grids[g], g)
		}
	}
}
