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

// page puts the report together. figures are by section: the overview's, then
// those of each setting.
func (r *run) page(comparisons []*comparison, sheets *sheets, overview []*picture, inside []*chapter) *page {
	p := &page{title: r.name() + ": what quantization leaves of the model"}
	p.add(answer{r.headline(comparisons)})
	if c := r.cautions(); len(c) > 0 {
		p.add(bullets{c})
	}
	p.add(heading{"Methods and formats"}, sheets.summary.show)
	for _, f := range overview {
		p.add(f)
	}
	if len(comparisons) > 0 {
		p.add(heading{"Methods against each other"}, sheets.comparisons.show)
	}
	p.add(heading{"Task by task"}, sheets.scores.show, foldStart{"Likelihood, divergence and chance by task", false}, sheets.tasks.show, foldEnd{})
	r.addPremises(p)
	r.addInside(p, inside)
	r.addCells(p, sheets)
	r.addTrouble(p, sheets)
	r.addExperiment(p, sheets)
	return p
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
	t := &display.Table{Columns: []string{"name", "method", "source"}}
	t.Add(harness.MethodFP, r.label(harness.MethodFP), "the model as it was trained")
	for _, name := range r.methods {
		source := none
		if m, err := methodRef(r.spec, name).Method(); err == nil && m.Paper != "" {
			source = m.Paper
		}
		t.Add(name, r.label(name), source)
	}
	return t
}

// plainText takes the marks of a caption's Markdown out for where they would
// be read literally.
func plainText(s string) string { return strings.NewReplacer("`", "", "**", "").Replace(s) }
