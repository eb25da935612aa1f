package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// Files of a folder of claims beside its report.
const (
	ClaimsFile = "claims.json"
	cellsFile  = "cells.jsonl"
)

// ClaimsFinding says in sentences what became of the claims: one for each family, by
// KL, the primary metric.
func ClaimsFinding(r *harness.ClaimsRun) []string {
	var out []string
	for _, f := range r.Spec.Families {
		var parts []string
		for _, c := range f.Claims {
			counts, all := map[eval.Outcome]int{}, 0
			for _, v := range r.Claims {
				if v.Family == f.Name && v.A == c[0] && v.B == c[1] && v.Metric == harness.MetricKL {
					counts[v.Verdict]++
					all++
				}
			}
			if all > 0 {
				parts = append(parts, fmt.Sprintf("%s against %s: %s", c[0], c[1], outcomeCounts(counts, all)))
			}
		}
		if len(parts) > 0 {
			out = append(out, f.Question+" "+strings.Join(parts, "; ")+".")
		}
	}
	if len(out) == 0 {
		return []string{"No claim could be judged: the cells that they speak of are missing."}
	}
	return out
}

// outcomeCounts is "better in 3, worse in 1, undecidable in 6 of 10 settings".
func outcomeCounts(counts map[eval.Outcome]int, all int) string {
	var parts []string
	for _, o := range []struct {
		outcome eval.Outcome
		word    string
	}{{eval.Shown, "better"}, {eval.Refuted, "worse"}, {eval.Undecidable, "undecidable"}, {eval.Identical, "identical"}} {
		if n := counts[o.outcome]; n == all {
			return fmt.Sprintf("%s in all %s", o.word, count(all, "setting"))
		} else if n > 0 {
			parts = append(parts, fmt.Sprintf("%s in %d", o.word, n))
		}
	}
	return strings.Join(parts, ", ") + fmt.Sprintf(" of %s", count(all, "setting"))
}

// BuildClaims writes a folder: claims.json with every verdict, cells.jsonl with every
// cell, spec.json, report.html and report.md, figures as PNG and SVG, tables as CSV, and
// claims.md, the tables as documentation takes them.
func BuildClaims(dir string, r *harness.ClaimsRun) error {
	s := &study{page: &page{title: r.Spec.Name + ": what is shown, what is refuted, what can't be decided"}}
	finding := ClaimsFinding(r)
	s.page.add(answer{finding[:1]}, bullets{finding[1:]})
	doc := &page{title: s.page.title}
	for _, f := range r.Spec.Families {
		if !judged(r, f.Name) {
			continue
		}
		s.page.add(heading{f.Question})
		figure, err := ClaimsFigure(r, f)
		if err := s.add(figure, err); err != nil {
			return err
		}
		for _, metric := range harness.ClaimMetrics() {
			t := familyTable(r, f, metric)
			if metric != harness.MetricKL {
				s.page.add(foldStart{f.Question + " By " + askedOf(r).metric(metric), false}, t, foldEnd{})
				continue
			}
			s.page.add(t)
			doc.add(heading{f.Question}, t)
		}
	}
	methods := claimMethodSheet(r)
	s.page.add(heading{"Every method"})
	s.addSheet(methods)
	doc.add(heading{"Every method"}, methods.show)
	s.page.add(heading{"How it was measured"}, prose{claimsMethod(r)}, code{"sh", claimsCommand(r)})
	doc.add(prose{claimsMethod(r)}, code{"sh", claimsCommand(r)})
	if failed := failedCells(r); len(failed.Rows) > 0 {
		s.page.add(heading{"Failed cells"}, failed)
	}
	s.sheets = append(s.sheets, claimSheet(r.Claims))
	cells, err := jsonLines(r.Cells)
	if err != nil {
		return err
	}
	spec, err := json.MarshalIndent(r.Spec, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	s.files = append(s.files, file{cellsFile, cells}, file{harness.SpecFile, append(spec, '\n')}, file{"claims.md", doc.markdown()})
	return s.write(dir, ClaimsFile, claimLines(r.Claims))
}

func judged(r *harness.ClaimsRun, family string) bool {
	return slices.ContainsFunc(r.Claims, func(v harness.ClaimVerdict) bool { return v.Family == family })
}

// jsonLines writes one JSON object per line.
func jsonLines[T any](values []T) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range values {
		if err := enc.Encode(&values[i]); err != nil {
			return nil, fmt.Errorf("report: line %d: %w", i+1, err)
		}
	}
	return b.Bytes(), nil
}

// settingOf is a verdict's model and setting, the model only where there are several.
func settingOf(r *harness.ClaimsRun, v *harness.ClaimVerdict) string {
	st := harness.ClaimSetting{Format: v.Format, Outliers: v.Outliers}.String()
	if len(r.Spec.Models) > 1 {
		return st + ", " + shortModel(v.Model)
	}
	return st
}

// relativeTo scales a verdict's difference to per cent of B's KL or NLL; accuracy is in
// points.
func relativeTo(v *harness.ClaimVerdict) estimate {
	e := estimate{v.Difference, v.Low, v.High, true}
	if v.Metric == harness.MetricAccuracy {
		return e
	}
	if v.MeanB <= 0 {
		return unknown
	}
	return e.scaled(0, 1/v.MeanB)
}

// claimText is a cell of a family's table.
func claimText(v *harness.ClaimVerdict) string {
	if v.Verdict == eval.Identical {
		return "identical"
	}
	text := withInterval(relativeTo(v), signedPercent)
	if v.Metric == harness.MetricAccuracy {
		text = withInterval(relativeTo(v), points)
	}
	switch v.Verdict {
	case eval.Shown:
		return text + " better"
	case eval.Refuted:
		return text + " worse"
	}
	if v.NeededN == 0 {
		return text + " ?"
	}
	return text + " ? (× " + times(float64(v.NeededN)/float64(v.N)) + ")"
}

// times writes how many times more it would take.
func times(x float64) string {
	if x > 1000 {
		return "> 1,000"
	}
	if x >= 10 {
		return grouped(int(math.Ceil(x)))
	}
	return strings.TrimSuffix(fixed(math.Ceil(x*10)/10, 1), ".0")
}

func signedPercent(share float64) string {
	s := fixed(100*share, 1)
	if share > 0 && s != "0.0" {
		s = "+" + s
	}
	return s + "%"
}

// familyTable has a row per setting and a column per claim.
func familyTable(r *harness.ClaimsRun, f harness.ClaimFamily, metric string) *display.Table {
	t := &display.Table{Columns: []string{"setting"}}
	for _, c := range f.Claims {
		t.Columns = append(t.Columns, c[0]+" − "+c[1])
	}
	var settings []string
	rows := map[string]map[[2]string]string{}
	for i := range r.Claims {
		v := &r.Claims[i]
		if v.Family != f.Name || v.Metric != metric {
			continue
		}
		st := settingOf(r, v)
		if rows[st] == nil {
			settings, rows[st] = append(settings, st), map[[2]string]string{}
		}
		rows[st][[2]string{v.A, v.B}] = claimText(v)
	}
	for _, st := range settings {
		row := []any{st}
		for _, c := range f.Claims {
			text := rows[st][c]
			if text == "" {
				text = none
			}
			row = append(row, text)
		}
		t.Add(row...)
	}
	a := askedOf(r)
	unit := "in % of the second's " + a.metric(metric)
	if metric == harness.MetricAccuracy {
		unit = "in points"
	}
	t.Caption = fmt.Sprintf("Difference in %s, %s, with 95%% intervals over calibration seeds and %ss (n = %s, %s). "+
		"better, worse: beyond noise after Holm's correction over this table; identical: the same weights on every seed; ?: undecidable, "+
		"in brackets how many times the %ss and seeds would decide the difference seen.",
		a.metric(metric), unit, a.cluster, grouped(r.Questions), count(len(r.Spec.Seeds), "seed"), a.unit)
	return t
}

// ClaimsFigure draws one family's differences in KL, relative to the second method.
func ClaimsFigure(r *harness.ClaimsRun, f harness.ClaimFamily) (*display.Figure, error) {
	x := &forest{axis: "difference in KL, % of the second method's", ticks: steps{most: 7, unit: "%"}, marks: []forestMark{{0, "no difference", faint}}}
	looks := map[eval.Outcome]look{eval.Shown: {green, glyphs[0]}, eval.Refuted: {vermillion, glyphs[1]}, eval.Undecidable: {kindColors["other"], glyphs[2]}}
	for _, c := range f.Claims {
		x.rows = append(x.rows, forestRow{heading: true, strong: true, label: c[0] + " − " + c[1]})
		for i := range r.Claims {
			v := &r.Claims[i]
			if v.Family != f.Name || v.Metric != harness.MetricKL || v.A != c[0] || v.B != c[1] {
				continue
			}
			row := forestRow{label: settingOf(r, v), at: unknown, value: claimText(v)}
			if v.Verdict != eval.Identical {
				row.at, row.look = relativeTo(v).scaled(0, 100), looks[v.Verdict]
			}
			x.rows = append(x.rows, row)
		}
	}
	var finding string
	for _, s := range ClaimsFinding(r) {
		if strings.HasPrefix(s, f.Question) {
			finding = s
		}
	}
	caption := finding + " Left of 0 the first method is better; green: beyond noise, red: worse beyond noise, grey: undecidable."
	return &display.Figure{Name: fileName("claims", r.Spec.Name, f.Name), Caption: caption, Drawing: x.drawing()}, nil
}

// claimMethodSheet is every method's KL, NLL and accuracy.
func claimMethodSheet(r *harness.ClaimsRun) *sheet {
	a := askedOf(r)
	s := &sheet{name: "methods", show: &display.Table{
		Columns: []string{"setting", "method", "bits", "KL", "KL ÷ RTN", "NLL", a.accuracy},
		Caption: fmt.Sprintf("Means over %s and %s; 95%% intervals over seeds and %ss.", count(len(r.Spec.Seeds), "calibration seed"), count(r.Questions, a.unit), a.cluster),
	}, csv: [][]string{{"model", "format", "outliers", "method", "bits", "kl", "kl_low", "kl_high", "nll", "nll_low", "nll_high", "accuracy", "accuracy_low", "accuracy_high"}}}
	for _, model := range r.Spec.Models {
		for _, st := range r.Spec.Settings {
			plain := math.NaN()
			if i, err := r.MethodMean(model, st, "rtn", harness.MetricKL); err == nil {
				plain = i.Mean
			}
			for _, ref := range r.Spec.Methods {
				var e [3]estimate
				found := true
				for k, metric := range harness.ClaimMetrics() {
					i, err := r.MethodMean(model, st, ref.ID(), metric)
					if err != nil {
						found = false
						break
					}
					e[k] = fromInterval(i)
				}
				if !found {
					continue
				}
				name := st.String()
				if len(r.Spec.Models) > 1 {
					name += ", " + shortModel(model)
				}
				cell := r.Cell(model, st, ref.ID(), r.Spec.Seeds[0])
				bits, method := cell.AvgBits, ref.ID()
				if cell.As != "" {
					method += " (" + cell.As + ")"
				}
				s.show.Add(name, method, fixed(bits, 2), withInterval(e[0], number), percent(e[0].mean/plain), withInterval(e[1], number), withInterval(e[2], percent))
				s.csv = append(s.csv, slices.Concat([]string{model, st.Format, st.Outliers, ref.ID(), digits(bits)}, cells(e[0]), cells(e[1]), cells(e[2])))
			}
		}
	}
	return s
}

// claimSheet is the claims for programs, with what claims.json leaves out.
func claimSheet(claims []harness.ClaimVerdict) *sheet {
	s := &sheet{
		name: "claims",
		show: &display.Table{Columns: []string{"claim", "family", "metric", "difference", "low", "high", "p (Holm)", "verdict", "n", "seeds", "n needed"}},
		csv: [][]string{{
			"family", "a", "b", "model", "format", "outliers", "metric", "difference", "low", "high", "p_holm", "verdict", "n", "seeds", "clusters", "mean_a", "mean_b",
			"needed_n", "needed_seeds", "identical_seeds",
		}},
	}
	for _, v := range claims {
		s.show.Add(v.Claim, v.Family, metricTitle(v.Metric), signed(v.Difference), signed(v.Low), signed(v.High), pValue(v.PHolm), string(v.Verdict), v.N, v.Seeds, v.NeededN)
		s.csv = append(s.csv, []string{
			v.Family, v.A, v.B, v.Model, v.Format, v.Outliers, v.Metric, digits(v.Difference), digits(v.Low), digits(v.High), digits(v.PHolm), string(v.Verdict),
			strconv.Itoa(v.N), strconv.Itoa(v.Seeds), strconv.Itoa(v.Clusters), digits(v.MeanA), digits(v.MeanB), strconv.Itoa(v.NeededN), strconv.Itoa(v.NeededSeeds), strconv.Itoa(v.Identical),
		})
	}
	return s
}

func failedCells(r *harness.ClaimsRun) *display.Table {
	t := &display.Table{Columns: []string{"model", "setting", "method", "seed", "error"}}
	for _, c := range r.Failed() {
		t.Add(c.Model, harness.ClaimSetting{Format: c.Format, Outliers: c.Outliers}.String(), c.Method, c.Seed, c.Error)
	}
	return t
}
