package diff

import (
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
)

// SettingsTable shows the settings that changed.
func (d *Diff) SettingsTable() *display.Table {
	t := &display.Table{
		Caption: fmt.Sprintf("%d settings differ.", len(d.Settings)),
		Columns: []string{"setting", "A", "B"},
	}
	for _, c := range d.Settings {
		t.Add(c.Path, orAbsent(c.A), orAbsent(c.B))
	}
	return t
}

func orAbsent(value string) string {
	if value == "" {
		return "–"
	}
	return value
}

// CellsTable shows the cells that both runs have: weights, KL and accuracy,
// with 95% intervals of the difference B − A and the answers that flipped.
func (d *Diff) CellsTable() *display.Table {
	t := &display.Table{
		Caption: d.Finding(),
		Columns: []string{"cell", "weights", "KL A", "KL B", "B − A", "accuracy A", "B", "B − A", "right only in A / B", "McNemar p", "n", "note"},
	}
	for i := range d.Cells {
		c := &d.Cells[i]
		if c.Status != "ok" {
			t.Add(c.Name, "–", "–", "–", "–", "–", "–", "–", "–", "–", 0, c.Status)
			continue
		}
		weights := "changed"
		if c.IdenticalWeights {
			weights = "identical"
		}
		klChange, accuracyChange, flips, p := "–", "–", "–", "–"
		if x := c.Compared; x != nil {
			klChange, accuracyChange = change(x.KL, 4), change(&x.Accuracy, 3)
			flips, p = fmt.Sprintf("%d / %d", x.OnlyFirst, x.OnlySecond), fmt.Sprintf("%.3g", x.P)
		}
		t.Add(c.Name, weights, fmt.Sprintf("%.4f", c.A.KL), fmt.Sprintf("%.4f", c.B.KL), klChange,
			fmt.Sprintf("%.3f", c.A.Accuracy), fmt.Sprintf("%.3f", c.B.Accuracy), accuracyChange, flips, p, c.Shared, c.Note)
	}
	return t
}

// change writes a difference with its interval.
func change(i *eval.Interval, digits int) string {
	if i == nil {
		return "–"
	}
	return fmt.Sprintf("%+.*f [%+.*f, %+.*f]", digits, i.Mean, digits, i.Low, digits, i.High)
}

// Finding says in one sentence what the comparison found.
func (d *Diff) Finding() string {
	if d.Same {
		return fmt.Sprintf("The same run: %d cells agree in everything but time, memory, code and events.", len(d.Cells))
	}
	var kl, accuracy, weights, failed int
	for i := range d.Cells {
		c := &d.Cells[i]
		if c.Status != "ok" {
			failed++
			continue
		}
		if !c.IdenticalWeights {
			weights++
		}
		if x := c.Compared; x != nil {
			accuracy += decided(&x.Accuracy)
			kl += decided(x.KL)
		}
	}
	parts := []string{
		fmt.Sprintf("of %d cells in both runs %d have other weights", len(d.Cells), weights),
		fmt.Sprintf("KL changed beyond noise in %d, accuracy in %d", kl, accuracy),
	}
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed in one of them", failed))
	}
	if n := len(d.OnlyA) + len(d.OnlyB); n > 0 {
		parts = append(parts, fmt.Sprintf("%d cells are in A only, %d in B only", len(d.OnlyA), len(d.OnlyB)))
	}
	text := strings.Join(parts, "; ") + "."
	return strings.ToUpper(text[:1]) + text[1:]
}

// decided is 1 where an interval from enough clusters excludes 0.
func decided(i *eval.Interval) int {
	if i == nil || i.Clusters < eval.MinClusters || (i.Low <= 0 && i.High >= 0) {
		return 0
	}
	return 1
}
