package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/ptq"
)

// claimFields are what a line of claims.json has, no more and no less.
var claimFields = []string{"a", "b", "claim", "difference", "family", "format", "high", "low", "metric", "model", "n", "p_holm", "verdict"}

// TestRunClaims compares tables/claims.csv with the table of comparisons and with the
// records, and claims.json with it.
func TestRunClaims(t *testing.T) {
	files, records := smallBuilt(t)
	var lines []map[string]any
	if err := json.Unmarshal(files[ClaimsFile], &lines); err != nil {
		t.Fatal(err)
	}
	full := readCSV(t, files["tables/claims.csv"])
	if len(full) != len(lines) {
		t.Fatalf("%d claims in JSON, %d in CSV", len(lines), len(full))
	}
	var claims []harness.ClaimVerdict
	for i, line := range lines {
		if got := slices.Sorted(maps.Keys(line)); !slices.Equal(got, claimFields) {
			t.Fatalf("claim %d has the fields %v", i, got)
		}
		row := full[i]
		if line["verdict"] != row["verdict"] || line["a"] != row["a"] || line["family"] != row["family"] {
			t.Errorf("claim %d: %v in JSON, %v in CSV", i, line, row)
		}
		near(t, "difference", line["difference"].(float64), parse(t, row["difference"]))
		if row["family"] != runFamily {
			continue
		}
		claims = append(claims, harness.ClaimVerdict{
			Claim: line["claim"].(string), Family: row["family"], A: row["a"], B: row["b"], Model: row["model"], Format: row["format"], Metric: row["metric"],
			Difference: parse(t, row["difference"]), PHolm: parse(t, row["p_holm"]), Verdict: eval.Outcome(row["verdict"]), N: int(parse(t, row["n"])), Seeds: int(parse(t, row["seeds"])),
			MeanA: parse(t, row["mean_a"]), MeanB: parse(t, row["mean_b"]), NeededN: int(parse(t, row["needed_n"])),
		})
	}
	rows := readCSV(t, files["tables/comparisons.csv"])
	if len(claims) != 3*len(rows) {
		t.Fatalf("%d claims for %d comparisons by 3 metrics", len(claims), len(rows))
	}
	for i, v := range claims {
		row := rows[i%len(rows)]
		if v.A != row["method"] || v.B != row["against"] || v.Format != row["format"] || v.Model != row["model"] || fmt.Sprint(v.N) != row["n"] || v.Seeds != 2 || v.Family == "" {
			t.Errorf("claim %d, %+v, is not the comparison %v", i, v, row)
		}
		column := map[string]string{harness.MetricKL: "kl", harness.MetricAccuracy: "accuracy"}[v.Metric]
		if column != "" {
			near(t, v.Claim, v.Difference, parse(t, row[column+"_difference"]))
			near(t, v.Claim, v.PHolm, parse(t, row[column+"_p_holm"]))
			if string(v.Verdict) != row[column+"_outcome"] || fmt.Sprint(v.NeededN) != row[column+"_needed_n"] {
				t.Errorf("%s: %s, n %d; the table says %v", v.Claim, v.Verdict, v.NeededN, row)
			}
		}
		near(t, v.Claim, v.MeanA-v.MeanB, v.Difference)
		var nll float64
		for _, rec := range records {
			if rec.Model == v.Model && rec.Format == v.Format && rec.Method == v.A {
				nll += rec.Metrics.NLL / 2
			}
		}
		if v.Metric == harness.MetricNLL {
			near(t, v.Claim, v.MeanA, nll)
		}
	}
}

// TestClaimsOfTwins wants no verdict between identical weights, and none where the
// answers are missing.
func TestClaimsOfTwins(t *testing.T) {
	w := smallWorld()
	w.models, w.formats, w.seeds, w.questions = w.models[:1], w.formats[:1], w.seeds[:1], 20
	dir := t.TempDir()
	records := w.write(t, dir)
	records[2].WeightsSHA256, records[2].Metrics = records[1].WeightsSHA256, records[1].Metrics
	rewrite(t, dir, records)
	claims := func() (out []harness.ClaimVerdict) {
		if err := Build(dir); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(tree(t, dir)[ClaimsFile], &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, v := range claims() {
		if v.Verdict != eval.Identical || v.Difference != 0 || v.PHolm != 1 {
			t.Errorf("twins: %+v", v)
		}
	}
	records[2].WeightsSHA256 = "other"
	rewrite(t, dir, records)
	remove(t, dir, records[2].Samples)
	if got := claims(); got == nil || len(got) != 0 {
		t.Errorf("without answers: %v, want an empty list", got)
	}
}

// TestCosts reads what cells took back.
func TestCosts(t *testing.T) {
	files, records := smallBuilt(t)
	rows := readCSV(t, files["tables/costs.csv"])
	if want := 2 + 2*2*2; len(rows) != want { // models; models, formats, methods
		t.Fatalf("%d rows, want %d", len(rows), want)
	}
	for _, row := range rows {
		near(t, "seconds", parse(t, row["seconds"]), records[0].Seconds)
		near(t, "peak", parse(t, row["peak_bytes"]), float64(records[0].PeakBytes))
	}
	if page := string(files["report.md"]); strings.Contains(page, "1.50 | 1.50") || !strings.Contains(page, "](tables/costs.md)") {
		t.Error("report.md shows durations, or has no link to them")
	}
}

// TestTaskTable compares tasks side by side with the records.
func TestTaskTable(t *testing.T) {
	files, records := smallBuilt(t)
	rows := readCSV(t, files["tables/accuracy.csv"])
	for _, row := range rows {
		for _, task := range worldTasks {
			var sum, n float64
			for _, rec := range records {
				if rec.Model == row["model"] && rec.Format == row["format"] && rec.Method == row["method"] {
					sum, n = sum+rec.Tasks[task].Accuracy, n+1
				}
			}
			near(t, task, parse(t, row[task]), sum/n)
		}
	}
	if len(rows) != 10 {
		t.Errorf("%d rows, want 10", len(rows))
	}
}

func TestAccuracyByBits(t *testing.T) {
	w := smallWorld()
	records := w.write(t, t.TempDir())
	if _, err := AccuracyByBits(records); err == nil || !strings.Contains(err.Error(), "different") {
		t.Errorf("equal bits gave %v", err)
	}
	for i := range records {
		if records[i].Format == "w3a16g16" {
			records[i].AvgBits = 3.5
		}
	}
	f, err := AccuracyByBits(records)
	if err != nil {
		t.Fatal(err)
	}
	if want := "and models: w3a16g16 (3.50 bits) "; !strings.Contains(f.Caption, want) {
		t.Errorf("caption %q lacks %q", f.Caption, want)
	}
	svg, err := f.SVG()
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, f.Name, svg)
	for _, want := range []string{">w4a8<", ">w3a16g16<", ">llavaov-nano<", ">TLQ (reconstruction)<"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the figure lacks %s", want)
		}
	}
}

// TestQuoted wants words that a shell reads back as they are.
func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{"zoo:a": "zoo:a", "a b": "'a b'", "": "''", "it's $HOME": `'it'\''s $HOME'`} {
		if got := quoted(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"samples/a b.jsonl": "samples/a%20b.jsonl", "../x": "", "": "", "/etc/passwd": "", "javascript:x": "./javascript:x"} {
		if got := address(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestPremiseLink sums up a premise that lies in the folder, if it is of the run's model.
func TestPremiseLink(t *testing.T) {
	w := smallWorld()
	w.models, w.formats, w.seeds, w.questions = w.models[:1], w.formats[:1], w.seeds[:1], 20
	dir := t.TempDir()
	w.write(t, dir)
	p := harness.Premise{Model: w.models[0], Rounded: []harness.PremiseFormat{{Format: "w4a8", Share: map[string]eval.Interval{"vision": {Mean: 0.1, Low: 0.05, High: 0.15}}}}}
	put(t, dir, "premise/premise.json", asJSON(t, p))
	put(t, dir, "premise/report.html", nil)
	p.Model = "zoo:other"
	put(t, dir, "other/premise.json", asJSON(t, p))
	put(t, dir, "broken/premise.json", []byte("{"))
	if err := Build(dir); err != nil {
		t.Fatal(err)
	}
	page := string(tree(t, dir)["report.md"])
	if !strings.Contains(page, "[qwen2vl-nano](premise/report.html): Vision and answer tokens") || strings.Contains(page, "](other/premise.json)") {
		t.Error("the premise of the run's model is not linked, or another model's is")
	}
	if !strings.Contains(page, "broken/premise.json") {
		t.Error("a broken premise is not named")
	}
}

// TestLaTeXTables wants tables that a LaTeX without further packages can set: no sign
// outside ASCII, no bare underscore or per cent sign.
func TestLaTeXTables(t *testing.T) {
	files, _ := smallBuilt(t)
	n := 0
	for name, data := range files {
		if !strings.HasSuffix(name, ".tex") {
			continue
		}
		n++
		body, _, _ := strings.Cut(string(data), `\label{`)
		if strings.Count(body, `\begin{tabular}`) != 1 || strings.Count(body, `\end{tabular}`) != 1 {
			t.Errorf("%s has no table", name)
		}
		for i, c := range body {
			if c > 127 {
				t.Errorf("%s holds %q in %q", name, c, body[max(0, i-20):i])
				break
			}
			if (c == '_' || c == '%') && body[i-1] != '\\' {
				t.Errorf("%s holds a bare %q after %q", name, c, body[max(0, i-20):i])
				break
			}
		}
	}
	if n < 9 {
		t.Errorf("%d tables in LaTeX", n)
	}
}

// TestWholeGrid compares the grid's means with their definition on a world whose truth is
// known: every KL of tlq is 0.7 of rtn's, in all settings.
func TestWholeGrid(t *testing.T) {
	dir := t.TempDir()
	w := smallWorld()
	w.spread = 0
	records := w.write(t, dir)
	r, err := newRun(records, dir)
	if err != nil || r.whole == nil {
		t.Fatalf("no grid: %v", err)
	}
	kl := map[string]float64{}
	for _, m := range r.whole.methods {
		kl[m.method] = m.kl.mean
	}
	near(t, "rtn", kl["rtn"], 1)
	near(t, "tlq", kl["tlq"], 0.7)
	var kept float64
	for _, st := range r.settings {
		for _, s := range st.scores {
			if s.method == "tlq" {
				kept += s.kept.mean / float64(len(r.settings))
			}
		}
	}
	near(t, "kept", r.whole.methods[0].kept.mean, kept)
	outcome, d, _ := r.whole.seen("tlq", "rtn", harness.MetricKL)
	near(t, "difference", d.mean, -0.3)
	if outcome != eval.Shown || r.whole.methods[0].leads != len(r.settings) || len(r.whole.seeds) != 2 || r.whole.questions != 120 {
		t.Errorf("grid: %v, %+v", outcome, r.whole.methods[0])
	}
	if reverse, back, _ := r.whole.seen("rtn", "tlq", harness.MetricKL); reverse != eval.Refuted || back.mean != -d.mean || back.low != -d.high {
		t.Errorf("the other way round: %v, %+v", reverse, back)
	}
	records[len(records)-1].Samples = ""
	if r, err = newRun(records, dir); err != nil || r.whole != nil {
		t.Errorf("a grid without a cell's answers: %v", err)
	}
}

// TestTailed wants a smaller p only beyond the resampling's reach.
func TestTailed(t *testing.T) {
	far := eval.Interval{Mean: -0.3, Low: -0.32, High: -0.28, StdErr: 0.01, P: 2.0 / 10001}
	if p := tailed(far).P; !(p > 0 && p < 1e-100) {
		t.Errorf("30 standard errors: p %v", p)
	}
	for _, same := range []eval.Interval{{Mean: -0.02, Low: -0.04, High: -0.001, StdErr: 0.01, P: 0.04}, {Mean: 0, Low: 0, High: 0, P: 1}, {Mean: 0.1, Low: -0.1, High: 0.3, StdErr: 0.1, P: 0.3}} {
		if got := tailed(same); got != same {
			t.Errorf("%+v became %+v", same, got)
		}
	}
}

// TestShortLabels wants labels that fit beside dots, all different, and reconstructions
// told as such.
func TestShortLabels(t *testing.T) {
	r := &run{}
	for _, m := range ptq.Methods() {
		r.methods = append(r.methods, m.Name)
	}
	seen := map[string]string{}
	for _, m := range r.methods {
		label := r.short(m)
		if n := len([]rune(label)); n > mostShort || n == 0 {
			t.Errorf("%s is labelled %q", m, label)
		}
		if seen[label] != "" {
			t.Errorf("%s and %s are both %q", m, seen[label], label)
		}
		seen[label] = m
		if long := r.label(m); strings.Contains(long, "(reconstruction)") && !strings.Contains(label, "recon") && !strings.HasPrefix(label, "control: ") {
			t.Errorf("%s, %q, is not labelled a reconstruction: %q", m, long, label)
		}
	}
	for title, want := range map[string]string{
		"A method with quite a long title indeed": "A method with quite a…", "Short": "Short",
		"Something on a rotated model (reconstruction)": "Something on… (recon.)", "Scale search of ours (with a remark)": "Scale search of ours",
	} {
		if got := cutLabel(title); got != want {
			t.Errorf("%q is cut to %q, want %q", title, got, want)
		}
	}
}
