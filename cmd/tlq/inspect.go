package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// inspect describes a model.
type inspect struct {
	model   string
	premise bool
	samples int
	json    bool
	out     string
	split   string
	limit   optionalInt
	formats []string
	tasks   []string
}

func (i *inspect) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&i.premise, "premise", false, "measure whether the premise of token importance holds, and write figures and tables")
	fs.IntVar(&i.samples, "samples", 128, "calibration samples to estimate memory for, `N`")
	fs.BoolVar(&i.json, "json", false, "print JSON")
	fs.StringVar(&i.out, "o", "", "--premise: `folder` to write (default runs/premise-NAME)")
	fs.Var(&i.limit, "limit", fmt.Sprintf("--premise: prompts over all tasks, `N` (default %d)", harness.DefaultPremise().Prompts.N))
	fs.Var(list{values: &i.formats, split: true}, "formats", "--premise: `formats` to round to, separated by commas (default "+strings.Join(harness.DefaultPremise().Formats, ",")+")")
	fs.Var(list{values: &i.tasks, split: true}, "tasks", "--premise: `tasks` to ask, separated by commas (default all)")
	fs.StringVar(&i.split, "split", string(datasets.Test), "--premise: `split`: test or tuning")
}

func (i *inspect) Validate(args []string) error {
	if i.samples < 1 || i.samples > harness.MaxSamples {
		return fmt.Errorf("--samples %d: expected 1 to %d", i.samples, harness.MaxSamples)
	}
	if i.limit.set && i.limit.value < 2 {
		return fmt.Errorf("--limit %d: expected at least 2 prompts", i.limit.value)
	}
	return exactly(args, &i.model)
}

func (i *inspect) Run(ctx context.Context, c *console) error {
	m, err := openModel(ctx, i.model)
	if err != nil {
		return err
	}
	if i.premise {
		return i.runPremise(c, m)
	}
	info, err := m.Inspect(i.samples)
	if err != nil {
		return err
	}
	if i.json {
		return c.json(info)
	}
	i.print(c, info)
	return nil
}

func (i *inspect) print(c *console, info *harness.Inspection) {
	tensors := &display.Table{Columns: []string{"tensor", "type", "shape"}}
	for _, t := range info.Tensors {
		tensors.Add(t.Name, t.DType, fmt.Sprint(t.Shape))
	}
	c.printf("%s\n", tensors.Text())
	t, v := &info.Config.Text, &info.Config.Vision
	c.printf("model       %s (%s), %s\n", info.Model, info.Family, info.Dir)
	c.printf("language    %d layers, width %d, %d heads over %d, MLP %d, vocabulary %d\n", t.Layers, t.Hidden, t.Heads, t.KVHeads, t.Intermediate, t.Vocab)
	if v.Depth > 0 {
		c.printf("vision      %d layers, width %d, %d heads, patches of %d, %d tokens for a picture of 128×128\n", v.Depth, v.Hidden, v.Heads, v.PatchSize, info.PerImage)
	}
	for _, site := range info.Sites {
		c.printf("site        %-8s %d linears, %d in, %d out, %d parameters in %d layers\n", site.Site, site.Linears, site.In, site.Out, site.Parameters, t.Layers)
	}
	for _, part := range info.Parts {
		c.printf("part        %-18s %d parameters\n", part.Part, part.Parameters)
	}
	c.printf("parameters  %d, of which methods quantize %d; %s stored\n", info.Parameters, info.Quantized, mib(info.Bytes))
	e := &info.Memory
	c.printf("calibration %s at its peak for %d samples of %d tokens: layer %s, streams %s and %s in a file, micro-batches %s, program %s; %s for methods that solve\n",
		mib(e.Total), e.Samples, e.Tokens, mib(e.Layer), mib(e.Streams), mib(e.Spilled), mib(e.MicroBatch), mib(e.Base), mib(e.Solve))
	if q := info.Manifest; q != nil {
		c.printf("quantized   %s %s from %s, %.3f bits per weight\n", q.Method.Name, q.Format, q.Model, q.AvgBits)
	}
	c.printf("sha256      %s\n", info.WeightsSHA256)
}

// mib is a size for people.
func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
