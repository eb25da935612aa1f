package report

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// Parts lists what a model is made of: every part outside the decoder layers
// by the first two words of its tensors' names, and the decoder layers by
// site, since sites are what methods quantize. Parameters are counted as
// stored.
func Parts(m *harness.Model) (*display.Table, error) {
	info, err := m.Inspect(1)
	if err != nil {
		return nil, err
	}
	layers := make([]*models.Layer, m.NumLayers())
	for i := range layers {
		if layers[i], err = m.Layer(i); err != nil {
			return nil, err
		}
	}
	return parts(info, layers), nil
}

func parts(info *harness.Inspection, layers []*models.Layer) *display.Table {
	t := &display.Table{Columns: []string{"part", "holds", "parameters", "share", "quantized"}}
	add := func(name, holds string, parameters int64, quantized string) {
		t.Add(name, holds, grouped(int(parameters)), percent(float64(parameters)/float64(max(info.Parameters, 1))), quantized)
	}
	decoder := map[string]bool{}
	for _, l := range layers {
		for _, p := range l.Params() {
			decoder[p.Name] = true
		}
	}
	shown := false
	for _, g := range groupTensors(info.Tensors, decoder) {
		if !g.decoder {
			add(g.name, count(g.tensors, "tensor"), g.parameters, "no")
			continue
		}
		if shown {
			continue
		}
		shown = true
		rest := g.parameters
		for _, site := range models.Sites() {
			holds, n := siteWeights(layers, site)
			rest -= n
			add(fmt.Sprintf("%s: %s", count(len(layers), "layer"), site), holds, n, "yes")
		}
		add(fmt.Sprintf("%s: norms, biases", count(len(layers), "layer")), "", rest, "no")
	}
	t.Caption = fmt.Sprintf("%s: %s parameters. Methods quantize the decoder's linears, %s of them. A picture of the built-in tasks becomes %d vision tokens.",
		info.Model, grouped(int(info.Parameters)), percent(float64(info.Quantized)/float64(max(info.Parameters, 1))), info.PerImage)
	return t
}

// tensorGroup is one part of a checkpoint.
type tensorGroup struct {
	name       string
	decoder    bool
	tensors    int
	parameters int64
}

// groupTensors sorts tensors by part, in the order in which data meets them:
// the vision tower, what joins it to the decoder, the decoder.
func groupTensors(tensors []harness.TensorInfo, decoder map[string]bool) []*tensorGroup {
	var groups []*tensorGroup
	for _, t := range tensors {
		name := "decoder"
		if !decoder[t.Name] {
			words := strings.Split(t.Name, ".")
			name = strings.Join(words[:min(2, max(len(words)-1, 1))], ".")
		}
		i := slices.IndexFunc(groups, func(g *tensorGroup) bool { return g.name == name })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &tensorGroup{name: name, decoder: decoder[t.Name]})
		}
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		groups[i].tensors++
		groups[i].parameters += n
	}
	order := func(g *tensorGroup) int {
		has := func(word string) bool { return strings.Contains(g.name, word) }
		switch {
		case has("patch_embed"):
			return 0
		case has("merger"), has("projector"), has("newline"):
			return 2
		case has("vis"):
			return 1
		}
		return 3
	}
	slices.SortStableFunc(groups, func(a, b *tensorGroup) int { return order(a) - order(b) })
	return groups
}

// siteWeights describes the weights of a site and counts them in all layers.
func siteWeights(layers []*models.Layer, site models.Site) (holds string, parameters int64) {
	names := map[models.Site][]string{models.QKV: {"q", "k", "v"}, models.O: {"o"}, models.GateUp: {"gate", "up"}, models.Down: {"down"}}[site]
	var shapes []string
	for i, l := range layers {
		for k, lin := range l.Linears(site) {
			parameters += int64(len(lin.W))
			if i == 0 {
				shapes = append(shapes, fmt.Sprintf("%s %d×%d", names[k], lin.Out, lin.In))
			}
		}
	}
	return strings.Join(shapes, ", "), parameters
}

// mostExamples is how many examples a contact sheet shows.
const mostExamples = 8

// Examples draws the first examples of a calibration set or a task as a
// contact sheet: the picture, the question, the choices with the right one in
// green.
func Examples(examples []datasets.Example) (*display.Figure, error) {
	shown := examples[:min(len(examples), mostExamples)]
	if len(shown) == 0 {
		return nil, errors.New("report: no examples: there is nothing to draw")
	}
	sheet, err := datasets.ContactSheet(shown, 4)
	if err != nil {
		return nil, err
	}
	tasks := map[string]int{}
	var names []string
	for _, e := range examples {
		if tasks[e.Task]++; tasks[e.Task] == 1 {
			names = append(names, e.Task)
		}
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%d of task %s", tasks[name], name)
	}
	return &display.Figure{
		Name:    "examples",
		Caption: fmt.Sprintf("The first %d of %s: %s. The right answer is green.", len(shown), count(len(examples), "example"), list(names)),
		Drawing: display.Pixels(sheet),
	}, nil
}

// Settings lists the settings of methods by their keys, as "tlq quantize --set"
// and [ptq.Method.Set] take them, one column per method. Optional settings that
// a method leaves out are shown as "–", or not at all where every one does.
func Settings(methods ...ptq.Method) (*display.Table, error) {
	if len(methods) == 0 {
		return nil, errors.New("report: no methods: there are no settings to list")
	}
	t := &display.Table{Columns: []string{"setting"}, Caption: "The values that each setting may have stand in the documentation of ptq.Method."}
	for i, m := range methods {
		t.Columns = append(t.Columns, m.Name)
		row := 0
		eachSetting(reflect.ValueOf(m), "", func(key, value string) {
			if i == 0 {
				t.Rows = append(t.Rows, []string{key})
			}
			t.Rows[row] = append(t.Rows[row], value)
			row++
		})
	}
	t.Rows = slices.DeleteFunc(t.Rows, func(row []string) bool {
		return !slices.ContainsFunc(row[1:], func(value string) bool { return value != none })
	})
	return t, nil
}

// eachSetting visits the leaves of a method in order, with dotted keys. What a
// method is called isn't a setting.
func eachSetting(v reflect.Value, prefix string, visit func(key, value string)) {
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		key, field := prefix+name, v.Field(i)
		switch {
		case key == "name" || key == "title" || key == "paper":
		case field.Kind() == reflect.Struct:
			eachSetting(field, key+".", visit)
		case field.IsZero() && options != "": // omitempty, omitzero
			visit(key, none)
		case field.Kind() == reflect.Slice:
			words := make([]string, field.Len())
			for k := range words {
				words[k] = fmt.Sprint(field.Index(k))
			}
			visit(key, strings.Join(words, ","))
		default:
			visit(key, fmt.Sprint(field))
		}
	}
}

// CSSWidth tells a notebook to show the picture at its size, not at that of
// its pixels, of which it has twice as many.
func (d *drawing) CSSWidth() int { return int(d.width.Dots(96)) }
