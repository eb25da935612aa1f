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

// Parts lists what a model is made of, in the order in which data meets it, the
// decoder's linears by site: those are what methods quantize.
func Parts(m *harness.Model) (*display.Table, error) {
	info, err := m.Inspect(1)
	if err != nil {
		return nil, err
	}
	t := &display.Table{Columns: []string{"part", "in each layer", "parameters", "share", "quantized"}}
	add := func(part, holds string, parameters int64, quantized string) {
		t.Add(part, holds, grouped(int(parameters)), percent(float64(parameters)/float64(max(info.Parameters, 1))), quantized)
	}
	layers := count(m.NumLayers(), "layer")
	for _, part := range info.Parts {
		sites := slices.DeleteFunc(slices.Clone(info.Sites), func(s models.SiteSize) bool { return partOfSite[s.Site] != part.Part })
		for _, s := range sites {
			holds := fmt.Sprintf("%s, %d channels in, %d out", count(s.Linears, "linear"), s.In, s.Out)
			add(fmt.Sprintf("%s: %s, %s", part.Part, s.Site, layers), holds, s.Parameters, "yes")
		}
		if len(sites) == 0 {
			add(part.Part, "", part.Parameters, "no")
		}
	}
	t.Caption = fmt.Sprintf("%s: %s parameters. Methods quantize the decoder's linears, %s of them.",
		info.Model, grouped(int(info.Parameters)), percent(float64(info.Quantized)/float64(max(info.Parameters, 1))))
	if info.PerImage > 0 {
		t.Caption += fmt.Sprintf(" A picture of the built-in tasks becomes %s.", count(info.PerImage, "vision token"))
	}
	return t, nil
}

// partOfSite names the part of a model that a site belongs to, as
// [models.Config.Parts] does.
var partOfSite = map[models.Site]string{
	models.QKV: "decoder attention", models.O: "decoder attention", models.GateUp: "decoder MLP", models.Down: "decoder MLP",
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
		if !v.Type().Field(i).IsExported() {
			continue
		}
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

// Grid shows what a plan will do: one row per model and format with its methods,
// cells, and how many of the plan's stages are in the store already.
func Grid(p *harness.Plan) *display.Table {
	t := &display.Table{Columns: []string{"model", "format", "methods", "calibration seeds", "cells"}}
	for _, model := range p.Spec.Models {
		t.Add(model, none, harness.MethodFP, none, 1)
		for _, format := range p.Spec.Formats {
			var methods []string
			for _, m := range p.Spec.Methods {
				methods = append(methods, m.ID())
			}
			t.Add(model, format, strings.Join(methods, ", "), len(p.Spec.Seeds), len(methods)*len(p.Spec.Seeds))
		}
	}
	stored := 0
	for _, s := range p.Stages {
		if s.Stored {
			stored++
		}
	}
	questions := fmt.Sprintf("%d questions of each task", p.Spec.Limit)
	if p.Spec.Limit == 0 {
		questions = "all questions"
	}
	t.Caption = fmt.Sprintf("%s made of %s, %d of which are in the store; %s (%s), %d calibration samples.",
		count(len(p.Cells), "cell"), count(len(p.Stages), "stage"), stored, questions, strings.Join(p.Spec.Tasks, ", "), p.Spec.Calibration.Samples)
	return t
}
