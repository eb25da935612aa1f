package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/models"
)

// What a model needs before a token method can be told apart in it: thresholds of the
// zoo's design, above the 1 to 4% and the 45% of a first pilot, in which nothing
// about vision tokens could be seen.
const (
	enoughShare = 0.20 // of KL made by rounding vision tokens alone
	enoughPeak  = 0.70 // of a prompt's vision gradient in its largest quarter of tokens
)

// PremiseVerdict says in sentences whether the premise holds: how much of the damage
// vision tokens make, how gradients, magnitudes and channels differ between vision and
// answer tokens, and how much vision tokens differ among themselves. The first
// sentence is the verdict.
func PremiseVerdict(p *harness.Premise) []string {
	return []string{verdictOf(p), shareSentence(p), gradientSentence(p), spreadSentence(p), activationSentence(p)}
}

// shareRange is the least and the greatest vision share over the formats.
func shareRange(p *harness.Premise) (low, high harness.PremiseFormat) {
	for i, f := range p.Rounded {
		if i == 0 || f.Share["vision"].Mean < low.Share["vision"].Mean {
			low = f
		}
		if i == 0 || f.Share["vision"].Mean > high.Share["vision"].Mean {
			high = f
		}
	}
	return low, high
}

func verdictOf(p *harness.Premise) string {
	low, high := shareRange(p)
	modalities := "Vision and answer tokens differ strongly, so weighing them by modality can matter"
	if g := gradientRatios(p); len(g) == 0 || slices.Max(g) > 0.5 {
		modalities = "Vision and answer tokens hardly differ in their gradients, so weighing them by modality can win little"
	}
	switch least, most := low.Share["vision"], high.Share["vision"]; {
	case least.Low >= enoughShare:
		return modalities + fmt.Sprintf("; rounding at vision tokens alone makes %s of the KL, enough for their selection to be tested.", shareText(p))
	case most.High < enoughShare:
		return modalities + fmt.Sprintf("; but rounding at vision tokens alone makes only %s of the KL, so guarding them better cannot win more than that here, and a method that selects among them has little to win on this model.", shareText(p))
	}
	return modalities + fmt.Sprintf("; rounding at vision tokens alone makes %s of the KL: that reaches %s in some formats only, or not beyond noise.", shareText(p), percent(enoughShare))
}

func shareText(p *harness.Premise) string {
	var shares []float64
	for _, f := range p.Rounded {
		shares = append(shares, f.Share["vision"].Mean)
	}
	return between(shares, percent)
}

// shareSentence gives every format's share with its interval.
func shareSentence(p *harness.Premise) string {
	var parts []string
	for _, f := range p.Rounded {
		parts = append(parts, fmt.Sprintf("%s %s", f.Format, withInterval(fromInterval(f.Share["vision"]), percent)))
	}
	return fmt.Sprintf("Share of the KL of rounding everything that remains when only vision tokens are rounded, with 95%% intervals over %s: %s.", count(p.Clusters, "picture"), list(parts))
}

// gradientRatios are the vision/answer ratios in the layers where there are gradients.
func gradientRatios(p *harness.Premise) []float64 {
	var out []float64
	for _, g := range p.Gradients {
		if g.Ratio != nil && g.Vision.Mean > 0 {
			out = append(out, g.Ratio.Mean)
		}
	}
	return out
}

func gradientSentence(p *harness.Premise) string {
	ratios := gradientRatios(p)
	if len(ratios) == 0 {
		return "No layer has a gradient at vision tokens."
	}
	text := fmt.Sprintf("A vision token's gradient is %s of an answer token's", between(ratios, percent))
	var silent []string
	for _, g := range p.Gradients {
		if s := strconv.Itoa(g.Layer); g.Vision.Mean == 0 && !slices.Contains(silent, s) {
			silent = append(silent, s)
		}
	}
	if len(silent) > 0 {
		text += fmt.Sprintf(" (exactly 0 in layer %s, by construction: nothing behind reads the stream at a vision token)", list(silent))
	}
	var others []float64
	for _, g := range p.Gradients {
		if g.Answer.Mean > 0 && g.Other.Mean > 0 {
			others = append(others, g.Other.Mean/g.Answer.Mean)
		}
	}
	return text + fmt.Sprintf("; another text token's is %s.", between(others, percent))
}

// peaks are the shares of the largest quarter of vision tokens.
func peaks(sites []harness.PremiseSite) []float64 {
	var out []float64
	for _, g := range sites {
		if g.Vision.TopQuarter > 0 {
			out = append(out, g.Vision.TopQuarter)
		}
	}
	return out
}

func spreadSentence(p *harness.Premise) string {
	g, a := peaks(p.Gradients), peaks(p.Activations)
	if len(g) == 0 {
		return "Without gradients at vision tokens there is nothing to select by."
	}
	text := fmt.Sprintf("Within a picture the quarter of the vision tokens with the largest gradients holds %s of their sum (25%% would be no difference), that with the largest activations %s", between(g, percent), between(a, percent))
	mean := eval.Mean(g)
	if mean > enoughPeak {
		return text + "; importance is peaked enough to select by."
	}
	return text + fmt.Sprintf("; on average %s, less than the %s that would make a selection sharp.", percent(mean), percent(enoughPeak))
}

func activationSentence(p *harness.Premise) string {
	var parts []string
	for _, site := range models.Sites() {
		var ratios, profiles []float64
		for _, a := range p.Activations {
			if a.Site == site && a.Ratio != nil && a.Profile != nil {
				ratios, profiles = append(ratios, a.Ratio.Mean), append(profiles, a.Profile.Mean)
			}
		}
		parts = append(parts, fmt.Sprintf("%s %s (channels %s)", site, between(ratios, number), between(profiles, number)))
	}
	return "Mean |x| of vision tokens over that of answer tokens, and in brackets the rank correlation of their channels' sizes, over the layers: " + strings.Join(parts, "; ") + "."
}

// PremiseRounded draws what rounding one kind of token only costs, as a share of the
// KL when all are rounded, with 95% intervals.
func PremiseRounded(p *harness.Premise) (*display.Figure, error) {
	f := &forest{
		axis: "share of the KL when all tokens are rounded", ticks: steps{most: 6, unit: "%"},
		marks: []forestMark{{0, "", rule}, {100 * enoughShare, "aim for vision", modalityLook(models.Vision).color}},
	}
	for _, x := range p.Rounded {
		f.rows = append(f.rows, forestRow{heading: true, strong: true, label: fmt.Sprintf("%s (KL %s)", x.Format, withInterval(fromInterval(x.KL["all"]), number))})
		for _, m := range modalities {
			share := fromInterval(x.Share[m.String()]).scaled(0, 100)
			f.rows = append(f.rows, forestRow{
				label: fmt.Sprintf("%s tokens (%s per prompt)", m, number(float64(p.Tokens[m.String()])/float64(p.Prompts))), at: share, look: modalityLook(m),
				value: withInterval(share.scaled(0, 0.01), percent),
			})
		}
	}
	if len(f.rows) == 0 {
		return nil, fmt.Errorf("report: a premise without formats: there is nothing to draw")
	}
	caption := fmt.Sprintf("%s: rounding at vision tokens alone makes %s of the KL of rounding everywhere, at answer tokens alone %s (%s, %s).",
		shortModel(p.Model), shareText(p), between(sharesOf(p, "answer"), percent), count(p.Prompts, "prompt"), count(p.Clusters, "picture"))
	return &display.Figure{Name: "premise-rounded", Caption: caption, Drawing: f.drawing()}, nil
}

func sharesOf(p *harness.Premise, kind string) []float64 {
	var out []float64
	for _, f := range p.Rounded {
		out = append(out, f.Share[kind].Mean)
	}
	return out
}

// BuildPremise writes a premise's report into a folder: report.html and report.md,
// figures as PNG and SVG, tables as CSV, premise.json with all numbers and the verdict,
// and card.md, the paragraph and the table for the model's card.
func BuildPremise(dir string, p *harness.Premise) error {
	s := &study{page: &page{title: "Does the premise hold in " + shortModel(p.Model) + "?"}}
	verdict := PremiseVerdict(p)
	s.page.add(answer{verdict[:1]}, bullets{verdict[1:]})
	if err := s.add(PremiseRounded(p)); err != nil {
		return err
	}
	rounded := premiseRoundedSheet(p)
	s.addSheet(rounded)
	s.page.add(heading{"Gradients"})
	if err := s.add(PremiseGradients(p)); err != nil {
		return err
	}
	s.page.add(heading{"Activations"})
	if err := s.add(PremiseActivations(p)); err != nil {
		return err
	}
	s.page.add(heading{"Every layer and site"})
	s.addSheet(premiseSiteSheet("premise-gradients", "Mean |dL/dy| at the outputs of o_proj and down_proj, L the mean loss of a prompt's answer tokens.", p.Gradients))
	s.addSheet(premiseSiteSheet("premise-activations", "Mean |x| at the linears' inputs.", p.Activations))
	s.page.add(heading{"How it was measured"}, prose{premiseMethod(p)}, code{"sh", premiseCommand(p)})
	s.files = append(s.files, file{"card.md", premiseCard(p, rounded)})
	return s.write(dir, "premise.json", struct {
		*harness.Premise
		Verdict []string `json:"verdict"`
	}{p, verdict})
}

// premiseMethod says what the numbers are.
func premiseMethod(p *harness.Premise) string {
	return fmt.Sprintf("%s of the %s split (%s), right answers only, %s; loss of the unquantized model %s nats per answer token. "+
		"Rounding one kind of token: its positions pass through weights rounded to nearest, activations rounded too where the format says so; all others pass through the unquantized linears; "+
		"attention mixes both. An answer token is a position whose next token is scored. CV and the top quarter are taken within a prompt and averaged. "+
		"Intervals: 95%% bootstrap over pictures.",
		count(p.Prompts, "prompt"), p.Settings.Prompts.Split, strings.Join(p.Settings.Prompts.Tasks, ", "), count(p.Clusters, "picture"), withInterval(fromInterval(p.NLL), number))
}

func premiseCommand(p *harness.Premise) string {
	return fmt.Sprintf("./tlq inspect --premise %s --limit %d --formats %s --split %s", p.Model, p.Settings.Prompts.N, strings.Join(p.Settings.Formats, ","), p.Settings.Prompts.Split)
}

// premiseCard is what a model's card says of the premise.
func premiseCard(p *harness.Premise, rounded *sheet) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "## Does the premise of token importance hold here?\n\n")
	verdict := PremiseVerdict(p)
	fmt.Fprintf(&b, "**%s** %s\n\n", escapeMarkdown(verdict[0]), escapeMarkdown(paragraph(verdict[2:4])))
	fmt.Fprintf(&b, "%s\n", markdownTable(rounded.show))
	fmt.Fprintf(&b, "![what rounding one kind of token costs](premise-rounded.png)\n\nMeasured by `%s`.\n", premiseCommand(p))
	return []byte(b.String())
}

// premiseRoundedSheet is the KL by kind of token and format.
func premiseRoundedSheet(p *harness.Premise) *sheet {
	s := &sheet{name: "premise-rounded", show: &display.Table{
		Columns: []string{"format", "vision", "other", "answer", "all", "vision's share", "by task"},
		Caption: "KL to the unquantized model in nats per answer token when only one kind of token passes through rounded linears; 95% intervals over pictures.",
	}, csv: [][]string{{"format", "kind", "kl", "kl_low", "kl_high", "share", "share_low", "share_high"}}}
	for _, f := range p.Rounded {
		row := []any{f.Format}
		for _, kind := range harness.RoundedKinds() {
			row = append(row, withInterval(fromInterval(f.KL[kind]), number))
			share := unknown
			if x, ok := f.Share[kind]; ok {
				share = fromInterval(x)
			}
			s.csv = append(s.csv, slices.Concat([]string{f.Format, kind}, cells(fromInterval(f.KL[kind])), cells(share)))
		}
		var tasks []string
		for _, task := range p.Settings.Prompts.Tasks {
			if t, ok := f.Tasks[task]; ok && t.Vision != nil {
				tasks = append(tasks, task+" "+percent(t.Vision.Mean))
			}
		}
		s.show.Add(append(row, withInterval(fromInterval(f.Share["vision"]), percent), strings.Join(tasks, ", "))...)
	}
	return s
}

// premiseSiteSheet is every layer and site.
func premiseSiteSheet(name, what string, sites []harness.PremiseSite) *sheet {
	profiles := slices.ContainsFunc(sites, func(x harness.PremiseSite) bool { return x.Profile != nil })
	s := &sheet{name: name, show: &display.Table{
		Columns: []string{"layer", "site", "vision", "answer", "other", "vision ÷ answer", "max, vision / answer", "CV, vision / answer", "top quarter, vision"},
		Caption: what + " CV: spread between tokens of a prompt; top quarter: share of the sum that the largest quarter of the vision tokens holds.",
	}}
	s.csv = [][]string{{
		"layer", "site", "vision_mean", "answer_mean", "other_mean", "ratio", "ratio_low", "ratio_high", "profile", "profile_low", "profile_high",
		"vision_max", "answer_max", "other_max", "vision_cv", "answer_cv", "other_cv", "vision_top_quarter", "answer_top_quarter", "other_top_quarter",
	}}
	if profiles {
		s.show.Columns = append(s.show.Columns, "channels' rank correlation")
	}
	optional := func(i *eval.Interval) estimate {
		if i == nil {
			return unknown
		}
		return fromInterval(*i)
	}
	for _, x := range sites {
		peak := percent(x.Vision.TopQuarter)
		if x.Vision.Mean == 0 {
			peak = none
		}
		row := []any{
			x.Layer, string(x.Site), magnitude(x.Vision.Mean), magnitude(x.Answer.Mean), magnitude(x.Other.Mean), withInterval(optional(x.Ratio), number),
			magnitude(x.Vision.Max) + " / " + magnitude(x.Answer.Max), fixed(x.Vision.CV, 2) + " / " + fixed(x.Answer.CV, 2), peak,
		}
		if profiles {
			row = append(row, withInterval(optional(x.Profile), func(v float64) string { return fixed(v, 2) }))
		}
		s.show.Add(row...)
		csv := slices.Concat([]string{strconv.Itoa(x.Layer), string(x.Site)}, []string{digits(x.Vision.Mean), digits(x.Answer.Mean), digits(x.Other.Mean)},
			cells(optional(x.Ratio)), cells(optional(x.Profile)))
		for _, of := range []func(harness.Magnitudes) float64{
			func(m harness.Magnitudes) float64 { return m.Max }, func(m harness.Magnitudes) float64 { return m.CV }, func(m harness.Magnitudes) float64 { return m.TopQuarter },
		} {
			csv = append(csv, digits(of(x.Vision)), digits(of(x.Answer)), digits(of(x.Other)))
		}
		s.csv = append(s.csv, csv)
	}
	return s
}

// magnitude writes a magnitude of any size with three significant digits.
func magnitude(x float64) string {
	if x != 0 && math.Abs(x) < 1e-3 {
		return strconv.FormatFloat(x, 'e', 2, 64)
	}
	return number(x)
}

// PremiseTable is the KL by format and kind of token that is rounded.
func PremiseTable(p *harness.Premise) *display.Table { return premiseRoundedSheet(p).show }
