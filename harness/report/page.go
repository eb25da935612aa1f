package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// page is the report as blocks; markdown and html write it.
type page struct {
	title  string
	blocks []block
}

// block is one of the types below.
type block any

type (
	heading   struct{ text string }           // of a section
	answer    struct{ sentences []string }    // the headline
	prose     struct{ text string }           // a paragraph
	bullets   struct{ items []string }        // a list
	code      struct{ language, text string } // as it is
	foldStart struct {                        // what follows may be folded away
		title string
		open  bool
	}
	foldEnd struct{}
)

// picture is a figure, rendered.
type picture struct {
	*display.Figure
	png, svg []byte
}

func (p *page) add(blocks ...block) { p.blocks = append(p.blocks, blocks...) }

// longTable is the number of rows from which on a table is folded away.
const longTable = 30

// addTable adds a table, folded away where it is long.
func (p *page) addTable(title string, t *display.Table) {
	if len(t.Rows) <= longTable {
		p.add(t)
		return
	}
	p.add(foldStart{fmt.Sprintf("%s: %s", title, count(len(t.Rows), "row")), false}, t, foldEnd{})
}

// page puts the report together. figures are by section: the overview's, then
// those of each setting.
func (r *run) page(comparisons []*comparison, claims []harness.ClaimVerdict, sheets *sheets, overview []*picture, inside []*chapter) *page {
	p := &page{title: r.name() + ": what quantization leaves of the model"}
	p.add(answer{r.headline(comparisons)})
	if c := r.cautions(); len(c) > 0 {
		p.add(bullets{c})
	}
	if sheets.grid != nil {
		p.add(heading{"The whole grid"}, sheets.grid.show)
	}
	var premise *picture
	for _, f := range overview {
		if f.Name == "premise" {
			premise = f
			continue
		}
		p.add(f)
	}
	if sheets.leaders != nil && len(r.settings) > 1 {
		p.add(heading{"Setting by setting"}, sheets.leaders.show)
	}
	p.add(heading{"Methods and formats"})
	p.addTable("Every method in every setting", sheets.summary.show)
	r.addClaims(p, claims)
	p.add(heading{"Task by task"})
	if sheets.gridTasks != nil {
		p.add(sheets.gridTasks.show)
	}
	p.addTable("Accuracy by task", sheets.scores.show)
	p.add(foldStart{"Likelihood, divergence and chance by task", false}, sheets.tasks.show, foldEnd{})
	r.addPremises(p, premise, sheets.premises)
	r.addInside(p, inside)
	r.addCells(p, sheets)
	r.addTrouble(p, sheets)
	r.addExperiment(p, sheets)
	return p
}

// addClaims adds the table of claims: over the whole grid in full, in each setting by the
// primary metric.
func (r *run) addClaims(p *page, claims []harness.ClaimVerdict) {
	if len(claims) == 0 {
		return
	}
	p.add(heading{"Claims: shown, refuted, undecidable"})
	if r.whole != nil {
		p.add(prose{"Over the whole grid, " + claimCounts(claims, gridFamily) + "."})
		p.addTable("Claims over the whole grid", r.claimTable(claims, gridFamily, harness.ClaimMetrics()...))
	}
	p.add(prose{"Setting by setting, " + claimCounts(claims, runFamily) + "."})
	p.addTable("Claims by KL", r.claimTable(claims, runFamily, harness.MetricKL))
	for _, metric := range harness.ClaimMetrics()[1:] {
		p.add(foldStart{"Claims by " + metricTitle(metric), false}, r.claimTable(claims, runFamily, metric), foldEnd{})
	}
}

// addCells lists every cell with its answers and the command that runs it again.
func (r *run) addCells(p *page, sheets *sheets) {
	p.add(heading{"Every cell"}, foldStart{count(len(r.records), "cell"), false}, r.linkedCells(sheets.cells.show), foldEnd{})
	if c := r.cellCommands(); len(c.items) > 0 {
		p.add(foldStart{"Commands that run a cell again", false},
			prose{"From the checkout; FOLDER is this page's. The same weights and scores come out, in a run of their own."}, c, foldEnd{})
	}
}

// addInside adds the figures of each setting; the first is unfolded.
func (r *run) addInside(p *page, inside []*chapter) {
	if len(inside) == 0 {
		return
	}
	p.add(heading{"Inside the calibration"})
	if r.crowded() {
		p.add(prose{fmt.Sprintf("Error over depth in every setting; curves and token importance of %s in each model's first format; answers that flip where %s does a model the most damage.", r.label(r.focus()), r.label(r.baseline()))})
	}
	for i, ch := range inside {
		p.add(foldStart{fmt.Sprintf("%s on %s", ch.setting.format, r.modelName(ch.setting.model)), i == 0})
		for _, f := range ch.pictures {
			p.add(f)
		}
		p.add(foldEnd{})
	}
}

// mostUnfolded is how many events are shown without being asked for.
const mostUnfolded = 8

// addTrouble lists failed cells, events and what was left out.
func (r *run) addTrouble(p *page, sheets *sheets) {
	if t := r.failedTable(); len(t.Rows) > 0 {
		p.add(heading{"Failed cells"}, t)
	}
	p.add(heading{"Events"})
	if n := len(sheets.events.show.Rows); n > 0 {
		p.add(foldStart{count(n, "event"), n <= mostUnfolded}, sheets.events.show, foldEnd{})
	} else {
		p.add(prose{"Everything went as planned: no fallback was taken and nothing stored had to be computed again."})
	}
	if len(r.missing) > 0 {
		p.add(heading{"Left out"}, bullets{r.missing})
	}
}

// addExperiment says what was run and how to run it again.
func (r *run) addExperiment(p *page, sheets *sheets) {
	p.add(heading{"The experiment"}, r.methodTable())
	if len(r.records) > 0 {
		rec := &r.records[0]
		p.add(prose{fmt.Sprintf("Specification SHA-256 %s, data SHA-256 %s.", rec.SpecSHA256, rec.DataSHA256)})
	}
	p.add(prose{"Beside this page:"}, r.fileLinks(sheets))
	if r.spec == nil {
		return
	}
	data, err := json.MarshalIndent(r.spec, "", "  ")
	if err != nil {
		r.leaveOut("the experiment's specification", "", err)
		return
	}
	p.add(prose{"To run it all again, with the specification as this folder has it in " + harness.SpecFile + ", from the checkout:"},
		code{"sh", "./tlq ablate FOLDER/" + harness.SpecFile + "\n./tlq report FOLDER    # only tables, figures and this page"},
		foldStart{"Specification", false}, code{"json", string(data)}, foldEnd{})
}

// methodTable says what the methods are.
func (r *run) methodTable() *display.Table {
	t := &display.Table{Columns: []string{"name", "in figures", "method", "source"}}
	t.Add(harness.MethodFP, r.short(harness.MethodFP), r.label(harness.MethodFP), "the model as it was trained")
	for _, name := range r.methods {
		source := none
		if m, err := methodRef(r.spec, name).Method(); err == nil && m.Paper != "" {
			source = m.Paper
		}
		t.Add(name, r.short(name), r.label(name), source)
	}
	return t
}

// plainText takes the marks of a caption's Markdown out for where they would
// be read literally.
func plainText(s string) string { return strings.NewReplacer("`", "", "**", "").Replace(s) }
