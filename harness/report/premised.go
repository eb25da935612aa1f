package report

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/models"
)

// readPremises reads what the run measured of its models' premises.
func (r *run) readPremises() []harness.Premise {
	if r.dir == "" {
		return nil
	}
	all, err := harness.ReadPremises(r.dir)
	if err != nil {
		r.leaveOut("the premise of the models", harness.PremiseFile, err)
		return nil
	}
	return slices.DeleteFunc(all, func(p harness.Premise) bool { return !slices.Contains(r.models, p.Model) || len(p.Rounded) == 0 })
}

// addPremises says whether the premise of token importance holds in the run's models:
// what the run measured, and links to premises' own reports in folders of the run's.
func (r *run) addPremises(p *page, figure *picture, s *sheet) {
	links := r.premiseLinks()
	if len(r.premises) == 0 && len(links.items) == 0 {
		return
	}
	p.add(heading{"Does the premise hold in these models?"})
	if len(r.premises) > 0 {
		p.add(prose{r.premiseFinding()})
		if figure != nil {
			p.add(figure)
		}
		p.add(s.show)
	}
	if len(links.items) > 0 {
		p.add(links)
	}
}

// premiseFinding sums the models' premises up.
func (r *run) premiseFinding() string {
	var enough, little, open []string
	for i := range r.premises {
		x := &r.premises[i]
		low, high := shareRange(x)
		text := fmt.Sprintf("%s (%s)", r.modelName(x.Model), shareText(x))
		switch {
		case low.Share["vision"].Low >= enoughShare:
			enough = append(enough, text)
		case high.Share["vision"].High < enoughShare:
			little = append(little, text)
		default:
			open = append(open, text)
		}
	}
	var parts []string
	for _, x := range []struct {
		models []string
		what   string
	}{
		{enough, "at least %s of the KL, enough for choosing among them to matter"},
		{little, "less than %s of the KL, so that guarding them better can win little"},
		{open, "%s of the KL in some formats only, or not beyond noise"},
	} {
		if len(x.models) > 0 {
			parts = append(parts, list(x.models)+": "+fmt.Sprintf(x.what, percent(enoughShare)))
		}
	}
	return "Rounding at vision tokens alone makes, by model, " + strings.Join(parts, "; ") + "."
}

// premiseKinds are the kinds of tokens that are rounded alone, and what they are called.
var premiseKinds = []struct {
	modality models.Modality
	label    string
}{{models.Vision, "vision"}, {models.Other, "text"}, {models.Answer, "answer"}}

// premiseFigure draws each kind's share of the KL, a panel per format and a group per
// model; nil where the run measured none.
func (r *run) premiseFigure() *display.Figure {
	if len(r.premises) == 0 {
		return nil
	}
	m := &multiples{axis: "KL of rounding one kind of token alone, % of that of rounding all (95% interval)", unit: "%", line: math.NaN()}
	for _, k := range premiseKinds {
		l := modalityLook(k.modality)
		m.series = append(m.series, legendEntry{k.label + " tokens alone", draw.LineStyle{}, draw.GlyphStyle{Color: l.color, Radius: 3.4, Shape: l.glyph}})
	}
	for i := range r.premises {
		for _, f := range r.premises[i].Rounded {
			k := slices.IndexFunc(m.panels, func(p multiplePanel) bool { return p.title == f.Format })
			if k < 0 {
				k = len(m.panels)
				m.panels = append(m.panels, multiplePanel{title: f.Format})
			}
			g := multipleGroup{name: strings.Replace(r.modelName(r.premises[i].Model), "-", "\n", 1)}
			for _, kind := range premiseKinds {
				at := unknown
				if share, ok := f.Share[kind.modality.String()]; ok {
					at = fromInterval(share).scaled(0, 100)
				}
				g.dots = append(g.dots, at)
			}
			m.panels[k].groups = append(m.panels[k].groups, g)
		}
	}
	first := &r.premises[0]
	caption := fmt.Sprintf("%s Shares need not add up to 100%%; bars are 95%% intervals over pictures, n = %s a model.", r.premiseFinding(), count(first.Prompts, "prompt"))
	return &display.Figure{Name: "premise", Caption: caption, Drawing: m.drawing()}
}

// premiseSheet is every model's premise by format; nil where the run measured none.
func (r *run) premiseSheet() *sheet {
	if len(r.premises) == 0 {
		return nil
	}
	s := &sheet{name: "premise", show: &display.Table{
		Columns: []string{"model", "format", "KL of rounding all", "vision alone", "text alone", "answer alone", "gradient, vision ÷ answer", "top quarter", "n"},
		Caption: "Alone: the KL when only that kind of token passes through rounded linears, as a share of that with all rounded, with 95% intervals over pictures. " +
			"Gradient: mean of a vision token over mean of an answer token, range over layers. Top quarter: share of the vision gradient in its largest quarter of tokens, mean over layers (25%: all alike).",
	}, csv: [][]string{{
		"model", "format", "kl_all", "kl_all_low", "kl_all_high", "vision", "vision_low", "vision_high", "text", "text_low", "text_high", "answer", "answer_low", "answer_high",
		"gradient_ratio_least", "gradient_ratio_most", "top_quarter", "n",
	}}}
	for i := range r.premises {
		x := &r.premises[i]
		ratios, peak := gradientRatios(x), math.NaN()
		if tops := peaks(x.Gradients); len(tops) > 0 {
			peak = eval.Mean(tops)
		}
		least, most := math.NaN(), math.NaN()
		if len(ratios) > 0 {
			least, most = slices.Min(ratios), slices.Max(ratios)
		}
		for _, f := range x.Rounded {
			all := fromInterval(f.KL["all"])
			row, csv := []any{r.modelName(x.Model), f.Format, withInterval(all, number)}, append([]string{x.Model, f.Format}, cells(all)...)
			for _, k := range premiseKinds {
				share := unknown
				if v, ok := f.Share[k.modality.String()]; ok {
					share = fromInterval(v)
				}
				row, csv = append(row, withInterval(share, percent)), append(csv, cells(share)...)
			}
			s.show.Add(append(row, between(ratios, percent), percent(peak), x.Prompts)...)
			s.csv = append(s.csv, append(csv, digits(least), digits(most), digits(peak), fmt.Sprint(x.Prompts)))
		}
	}
	r.oneModel(s.show)
	return s
}

// premiseLinks leads to premises' own reports in folders of the run's.
func (r *run) premiseLinks() links {
	var out links
	found, err := filepath.Glob(filepath.Join(r.dir, "*", harness.PremiseFile))
	if err != nil { // no pattern of ours is malformed; a folder's name may be
		return out
	}
	for _, file := range found {
		local, err := filepath.Rel(r.dir, file)
		if err != nil {
			continue
		}
		name := filepath.ToSlash(local)
		if x, err := r.premiseLink(file, name); err != nil {
			r.leaveOut("the premise of a model", name, err)
		} else if x != nil {
			out.items = append(out.items, *x)
		}
	}
	return out
}

// premiseLink sums one premise up; nil where its model is not in the run.
func (r *run) premiseLink(file, name string) (*link, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var x harness.Premise
	if err := json.Unmarshal(data, &x); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !slices.Contains(r.models, x.Model) || len(x.Rounded) == 0 {
		return nil, nil
	}
	to := name
	beside := path.Join(path.Dir(name), "report.html")
	if _, err := os.Stat(filepath.Join(r.dir, filepath.FromSlash(beside))); err == nil {
		to = beside
	}
	return &link{r.modelName(x.Model), address(to), ": " + PremiseVerdict(&x)[0]}, nil
}
