package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// FidelityFinding says in sentences which objective ranks candidates best, what its
// choices keep of the possible gain, and which differences are more than noise.
func FidelityFinding(f *harness.Fidelity) []string {
	best, kept := f.Methods[0], f.Methods[0]
	for _, m := range f.Methods {
		if m.Rho.Mean > best.Rho.Mean {
			best = m
		}
		if m.Relative.Mean < kept.Relative.Mean {
			kept = m
		}
	}
	rho := func(v float64) string { return fixed(v, 2) }
	out := []string{fmt.Sprintf("At %s on %s the objective of %s ranks candidates most as the true KL does (mean rank correlation %s over %s).",
		f.Settings.Format, shortModel(f.Model), best.Title, withInterval(fromInterval(best.Rho), rho), count(len(f.Sites), "site"))}
	out = append(out, choiceSentence(f, kept))
	counts := map[eval.Outcome][]string{}
	for _, p := range f.Pairs {
		text := fmt.Sprintf("%s against %s %s", p.A, p.B, withInterval(fromInterval(p.Verdict.Difference), func(v float64) string { return signedFixed(v, 2) }))
		counts[p.Verdict.Outcome] = append(counts[p.Verdict.Outcome], text)
	}
	for _, x := range []struct {
		outcome eval.Outcome
		text    string
	}{
		{eval.Shown, "Better beyond noise, in mean rank correlation"},
		{eval.Refuted, "Worse beyond noise"},
		{eval.Undecidable, "Undecidable with these sites"},
	} {
		if len(counts[x.outcome]) > 0 {
			out = append(out, x.text+": "+strings.Join(counts[x.outcome], "; ")+".")
		}
	}
	return out
}

// choiceSentence says what the picks cost beside rounding without scaling.
func choiceSentence(f *harness.Fidelity, kept harness.FidelityMethod) string {
	var gaining, losing []string
	for _, m := range f.Methods {
		switch {
		case m.Relative.High < 1:
			gaining = append(gaining, m.Name)
		case m.Relative.Low > 1:
			losing = append(losing, m.Name)
		}
	}
	text := fmt.Sprintf("The candidates that %s picks have %s of the KL of rounding without scaling, the best of any method; the truly best candidates have %s (chosen on the same prompts, which flatters them).",
		kept.Title, withInterval(fromInterval(kept.Relative), percent), percent(f.Possible.Mean))
	if len(gaining) > 0 {
		text += " Choices that gain beyond noise: " + list(gaining) + "."
	}
	if len(losing) > 0 {
		text += " Choices that do harm beyond noise: " + list(losing) + "."
	}
	return text
}

// signedFixed writes x with its sign and a number of decimals.
func signedFixed(x float64, decimals int) string {
	s := fixed(x, decimals)
	if x > 0 && strings.Trim(s, "0.") != "" {
		return "+" + s
	}
	return s
}

// FidelityFigure draws every method's mean rank correlation with the true KL, with 95%
// intervals over sites.
func FidelityFigure(f *harness.Fidelity) (*display.Figure, error) {
	x := &forest{axis: "rank correlation of J(α) with the true KL, mean over sites", ticks: steps{most: 6}}
	for i := range f.Methods {
		m := &f.Methods[i]
		e := fromInterval(m.Rho)
		x.rows = append(x.rows, forestRow{label: m.Title, at: e, look: lookOf(i), value: withInterval(e, func(v float64) string { return fixed(v, 2) })})
	}
	return &display.Figure{Name: fileName("fidelity", shortModel(f.Model), f.Settings.Format), Caption: FidelityFinding(f)[0], Drawing: x.drawing()}, nil
}

// FidelityChoices draws what the methods' choices cost: the KL of the candidates they
// pick, over all sites, relative to rounding without scaling.
func FidelityChoices(f *harness.Fidelity) (*display.Figure, error) {
	x := &forest{
		axis: "KL of the picks, % of that of α = 0", ticks: steps{most: 6, unit: "%"},
		marks: []forestMark{{100 * f.Possible.Mean, "best", blue}, {100, "no scaling", faint}},
	}
	for i := range f.Methods {
		m := &f.Methods[i]
		e := fromInterval(m.Relative).scaled(0, 100)
		x.rows = append(x.rows, forestRow{label: m.Title, at: e, look: lookOf(i), value: withInterval(fromInterval(m.Relative), percent)})
	}
	return &display.Figure{Name: fileName("fidelity-choices", shortModel(f.Model), f.Settings.Format), Caption: FidelityFinding(f)[1], Drawing: x.drawing()}, nil
}

// FidelityTable is the methods' numbers over all sites.
func FidelityTable(f *harness.Fidelity) *display.Table { return fidelitySheet(f).show }

func fidelitySheet(f *harness.Fidelity) *sheet {
	s := &sheet{name: "fidelity", show: &display.Table{
		Columns: []string{"objective", "rank correlation, KL", "rank correlation, ΔNLL", "KL of picks ÷ α = 0", "gain kept", "mean regret, KL", "best picks"},
		Caption: fmt.Sprintf("%s on %s, %s × %d exponents, true losses on %s; 95%% intervals over sites. Gain kept: Σ over sites of the pick's gain on α = 0, as a share of the best candidates'. "+
			"Every objective reads the unquantized path, because one site is quantized at a time.", f.Settings.Format, shortModel(f.Model), count(len(f.Sites), "site"), len(f.Alphas), count(f.Prompts, "prompt")),
	}, csv: [][]string{{"method", "rho", "rho_low", "rho_high", "rho_nll", "rho_nll_low", "rho_nll_high", "relative", "relative_low", "relative_high", "gain", "gain_low", "gain_high", "regret", "regret_low", "regret_high", "hits", "sites"}}}
	two := func(v float64) string { return fixed(v, 2) }
	for _, m := range f.Methods {
		s.show.Add(m.Title, withInterval(fromInterval(m.Rho), two), withInterval(fromInterval(m.RhoNLL), two), withInterval(fromInterval(m.Relative), percent), withInterval(fromInterval(m.Gain), percent),
			withInterval(fromInterval(m.Regret), magnitude), fmt.Sprintf("%d of %d", m.Hits, len(f.Sites)))
		s.csv = append(s.csv, slices.Concat([]string{m.Name}, cells(fromInterval(m.Rho)), cells(fromInterval(m.RhoNLL)), cells(fromInterval(m.Relative)), cells(fromInterval(m.Gain)), cells(fromInterval(m.Regret)),
			[]string{strconv.Itoa(m.Hits), strconv.Itoa(len(f.Sites))}))
	}
	return s
}

// fidelityPairSheet is methods against each other.
func fidelityPairSheet(f *harness.Fidelity) *sheet {
	s := &sheet{name: "fidelity-pairs", show: &display.Table{
		Columns: []string{"objective", "against", "Δ rank correlation", "p", "better?"},
		Caption: fmt.Sprintf("Paired over %s; p of the bootstrap, Holm-corrected over this table. Undecided: the interval holds 0 or p > 0.05; n counts sites.", count(len(f.Sites), "site")),
	}, csv: [][]string{{"a", "b", "difference", "low", "high", "p_holm", "verdict", "needed_n"}}}
	for _, p := range f.Pairs {
		s.show.Add(p.A, p.B, withInterval(fromInterval(p.Verdict.Difference), func(v float64) string { return signedFixed(v, 2) }), pValue(p.Verdict.AdjustedP), outcomeCell(p.Verdict))
		s.csv = append(s.csv, append([]string{p.A, p.B}, verdictCells(p.Verdict)...))
	}
	return s
}

// fidelitySiteSheet is every site.
func fidelitySiteSheet(f *harness.Fidelity) *sheet {
	s := &sheet{name: "fidelity-sites", show: &display.Table{
		Columns: []string{"layer", "site", "KL at α = 0", "least KL", "best α"},
		Caption: "True KL of each site's candidates, and in the methods' columns the rank correlation of J with it (95% over pictures) and the α chosen.",
	}, csv: [][]string{{"layer", "site", "method", "alpha", "j", "kl", "delta_nll"}}}
	for _, m := range f.Methods {
		s.show.Columns = append(s.show.Columns, m.Name)
	}
	for _, x := range f.Sites {
		best := x.Choice[f.Methods[0].Name].Best
		row := []any{x.Layer, string(x.Site), magnitude(x.KL[0]), magnitude(x.KL[best]), fixed(f.Alphas[best], 2)}
		for _, m := range f.Methods {
			row = append(row, fmt.Sprintf("%s α %s", withInterval(fromInterval(x.Rho[m.Name]), func(v float64) string { return fixed(v, 2) }), fixed(f.Alphas[x.Choice[m.Name].Pick], 2)))
			for k, alpha := range f.Alphas {
				s.csv = append(s.csv, []string{strconv.Itoa(x.Layer), string(x.Site), m.Name, digits(alpha), digits(x.Objectives[m.Name][k]), digits(x.KL[k]), digits(x.NLL[k])})
			}
		}
		s.show.Add(row...)
	}
	return s
}

// BuildFidelity writes a report of surrogate fidelity into a folder: report.html and
// report.md, figures as PNG and SVG, tables as CSV, fidelity.json with all numbers.
func BuildFidelity(dir string, f *harness.Fidelity) error {
	s := &study{page: &page{title: "What should calibration align with? Surrogate fidelity of " + shortModel(f.Model) + " at " + f.Settings.Format}}
	finding := FidelityFinding(f)
	s.page.add(answer{finding[:1]}, bullets{finding[1:]})
	if err := s.add(FidelityFigure(f)); err != nil {
		return err
	}
	if err := s.add(FidelityChoices(f)); err != nil {
		return err
	}
	s.addSheet(fidelitySheet(f))
	if len(f.Pairs) > 0 {
		s.page.add(heading{"Objectives against each other"})
		s.addSheet(fidelityPairSheet(f))
	}
	s.page.add(heading{"Curves"})
	if err := s.add(FidelityCurves(f)); err != nil {
		return err
	}
	s.page.add(heading{"Every site"})
	s.addSheet(fidelitySiteSheet(f))
	s.page.add(heading{"How it was measured"}, prose{fidelityMethodText(f)}, code{"sh", fidelityCommand(f)})
	return s.write(dir, "fidelity.json", f)
}

func fidelityMethodText(f *harness.Fidelity) string {
	text := fmt.Sprintf("One site of one layer is scaled by s = max(mᵅ, 1e-4)/√(max·min) and rounded, with its input's activations where the format rounds them; everything else is exact. "+
		"KL and the change of NLL are means over %s of the %s split (%s, %s). Objectives are the engine's own curves on %s (seed %d), every method searching on the unquantized path. ",
		count(f.Prompts, "prompt"), f.Settings.Prompts.Split, strings.Join(f.Settings.Prompts.Tasks, ", "), count(f.Clusters, "picture"), count(f.Settings.Calibration.Samples, "calibration sample"), f.Settings.Seed)
	for site, why := range f.Skipped {
		text += fmt.Sprintf("Site %s is left out: %s. ", site, why)
	}
	return text + "Rank correlation is Spearman's; a site is the unit of intervals over sites, pictures are those of one site's."
}

func fidelityCommand(f *harness.Fidelity) string {
	var names []string
	for _, m := range f.Settings.Methods {
		names = append(names, m.ID())
	}
	command := fmt.Sprintf("./tlq fidelity %s --format %s --limit %d --samples %d --seed %d --split %s --methods %s",
		f.Model, f.Settings.Format, f.Settings.Prompts.N, f.Settings.Calibration.Samples, f.Settings.Seed, f.Settings.Prompts.Split, strings.Join(names, ","))
	if len(f.Settings.Sites) > 0 {
		var sites []string
		for _, s := range f.Settings.Sites {
			sites = append(sites, string(s))
		}
		command += " --sites " + strings.Join(sites, ",")
	}
	return command
}
