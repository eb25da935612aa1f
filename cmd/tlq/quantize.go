package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/ptq"
)

// quantize writes one quantized model.
type quantize struct {
	model, method, format string
	set                   []string
	calib                 string
	samples               int
	seed                  uint64
	workers               int
	fallback              string
	tower                 bool
	outliers              string
	out                   string
	json                  bool
}

func (q *quantize) Flags(fs *flag.FlagSet) {
	fs.StringVar(&q.model, "model", "", "`model`")
	fs.StringVar(&q.method, "method", "", "`method`; tlq methods lists them")
	fs.StringVar(&q.format, "format", "", "`format`, such as w4a8 or w3a16g16")
	fs.Var(list{values: &q.set}, "set", "`KEY=VALUE` changes a setting of the method, such as tokens.keep=0.5; may be repeated")
	fs.StringVar(&q.calib, "calib", "default", "calibration `set` or the user's own: a folder with qa.jsonl, a .json file of conversations, or FILE.safetensors[:TENSOR] of tokens")
	fs.IntVar(&q.samples, "samples", 0, fmt.Sprintf("calibration samples, `N`; 0: %d, or all of a file that holds fewer", harness.DefaultSamples))
	fs.Uint64Var(&q.seed, "seed", 0, "`seed` of the calibration samples")
	fs.IntVar(&q.workers, "workers", 0, "calibration workers, `N`, which make calls of the model side by side; 0: as many as processors and memory allow")
	fs.StringVar(&q.fallback, "group-fallback", "", "`halve`: halve a group size that does not divide an input width, instead of refusing")
	fs.BoolVar(&q.tower, "vision-tower", false, "round the linears of the vision tower's blocks too, to nearest")
	fs.StringVar(&q.outliers, "outliers", "", "inject `outliers` first, without changing the function: channel, modality, sink; with settings as in modality-vision*32/2@down")
	fs.StringVar(&q.out, "o", "", "`folder` to write, new or empty")
	fs.BoolVar(&q.json, "json", false, "print the manifest as JSON")
}

func (q *quantize) Validate(args []string) error {
	for _, f := range []struct{ name, value string }{{"model", q.model}, {"method", q.method}, {"format", q.format}, {"o", q.out}} {
		if f.value == "" {
			return fmt.Errorf("-%s is missing: expected -model, -method, -format and -o", f.name)
		}
	}
	if q.samples < 0 {
		return fmt.Errorf("--samples %d: expected 1 to %d, or 0 for %d", q.samples, harness.MaxSamples, harness.DefaultSamples)
	}
	if q.workers < 0 {
		return fmt.Errorf("--workers %d: expected at least 1, or 0 for as many as fit", q.workers)
	}
	return none(args)
}

// quantization looks everything up that has a name.
func (q *quantize) quantization() (harness.Quantization, error) {
	out, err := harness.NewQuantization(q.method, q.format)
	if err != nil {
		return out, err
	}
	for _, assignment := range q.set {
		if err := out.Method.Set(assignment); err != nil {
			return out, err
		}
	}
	out.Tower = q.tower
	if out.Outliers, err = ptq.ParseOutliers(q.outliers); err != nil {
		return out, err
	}
	out.Fallback = ptq.GroupFallback(q.fallback)
	if out.Fallback != ptq.RefuseGroup && out.Fallback != ptq.HalveGroup {
		return out, fmt.Errorf("group fallback %q: expected %q", q.fallback, ptq.HalveGroup)
	}
	if err := out.Method.Validate(); err != nil {
		return out, err
	}
	return out, nil
}

// prepare opens the model and the samples, and refuses before any work what can't be done.
func (q *quantize) prepare(ctx context.Context, c *console, what harness.Quantization) (*harness.Model, *harness.Samples, error) {
	if err := harness.CheckNewOutput(q.out); err != nil {
		return nil, nil, err
	}
	m, err := openModel(harness.WithEvents(ctx, &harness.EventLog{Echo: c.Err}), q.model)
	if err != nil {
		return nil, nil, err
	}
	if err := m.Check(what); err != nil {
		return nil, nil, err
	}
	samples, err := m.WithWorkers(q.workers).CalibrationFrom(q.calib, q.samples, q.seed)
	if err == nil && what.Method.NeedsSamples() {
		err = samples.Check()
	}
	return m.WithWorkers(q.workers), samples, err
}

func (q *quantize) Run(ctx context.Context, c *console) error {
	what, err := q.quantization()
	if err != nil {
		return err
	}
	m, samples, err := q.prepare(ctx, c, what)
	if err != nil {
		return err
	}
	var progress *display.Progress
	if what.Method.NeedsSamples() {
		progress = display.NewProgress("quantize", m.CalibrationSteps())
		defer progress.Stop()
	}
	m = m.WithProgress(progress)
	quantized, err := m.Quantize(samples, what)
	if err != nil {
		return err
	}
	manifest, err := m.WriteQuantized(q.out, samples, quantized)
	if err != nil {
		return err
	}
	progress.Done()
	if q.json {
		return c.json(manifest)
	}
	c.printf("%s, %s, %.3f bits per weight\nweights sha256 %s\n", m.Name, what, manifest.AvgBits, manifest.WeightsSHA256)
	for _, e := range manifest.Events {
		c.printf("%s: %s\n", e.Kind, e.Text)
	}
	c.printf("%s\n", q.out)
	return nil
}
