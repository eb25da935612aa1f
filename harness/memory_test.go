package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tlqlab/tlqlab/internal/root"
	"github.com/tlqlab/tlqlab/models"
)

// Flags of BenchmarkCalibrationMemory; the whole model is
//
//	go test ./harness -run XXX -bench CalibrationMemory -benchtime 1x -timeout 2h -memory.layers 20
var (
	memoryLayers  = flag.Int("memory.layers", 2, "decoder layers of the benchmark's checkpoint: 20 make about a billion parameters")
	memorySamples = flag.Int("memory.samples", 4, "calibration samples of the benchmark")
	memoryDir     = flag.String("memory.dir", "", "folder to keep the checkpoint and the store in, for another run; default: a temporary one")
)

// memoryChild is set in the process that is measured.
const memoryChild = "TLQ_MEMORY_CHILD"

// memoryRun is what a measured process is told.
type memoryRun struct {
	Model, Store, Method, Format string
	Set                          []string
	Samples, Workers             int
	Spill                        bool   // all streams into a file
	Out                          string // the quantized checkpoint; empty: none is written
}

// memoryResult is what it answers.
type memoryResult struct {
	Peak     int64   // bytes, as the system counts them
	Loaded   int64   // of it before anything was calibrated
	Seconds  float64 // of Quantize
	Hash     string
	Estimate MemoryEstimate
}

// answerAsChild measures where the process was started for that, and ends it.
func answerAsChild() {
	text := os.Getenv(memoryChild)
	if text == "" {
		return
	}
	if err := measureMemory(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func measureMemory(text string) error {
	var run memoryRun
	if err := json.Unmarshal([]byte(text), &run); err != nil {
		return err
	}
	dir, err := root.Dir()
	if err != nil {
		return err
	}
	s, err := NewSession(dir, run.Store, 0)
	if err != nil {
		return err
	}
	if s = s.WithWorkers(run.Workers); run.Spill {
		s.streams = 0
	}
	m, err := s.Model(run.Model)
	if err != nil {
		return err
	}
	q, err := NewQuantization(run.Method, run.Format)
	if err != nil {
		return err
	}
	for _, set := range run.Set {
		if err := q.Method.Set(set); err != nil {
			return err
		}
	}
	out := memoryResult{Loaded: peakBytes()}
	info, err := m.Inspect(run.Samples)
	if err != nil {
		return err
	}
	out.Estimate = info.Memory
	c, err := m.Calibration("default", run.Samples, 0)
	if err != nil {
		return err
	}
	start := time.Now()
	quantized, err := m.Quantize(c, q)
	if err != nil {
		return err
	}
	out.Seconds, out.Hash = time.Since(start).Seconds(), quantized.WeightsSHA256
	if run.Out != "" {
		if _, err := m.WriteQuantized(run.Out, c, quantized); err != nil {
			return err
		}
	}
	out.Peak = peakBytes()
	return json.NewEncoder(os.Stdout).Encode(out)
}

// child is a process that does what run says.
func child(ctx context.Context, t testing.TB, run memoryRun) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), memoryChild+"="+string(text))
	return cmd
}

// inProcess runs a measurement in a process of its own.
func inProcess(t testing.TB, run memoryRun) memoryResult {
	t.Helper()
	cmd := child(context.Background(), t, run)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var out memoryResult
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		t.Fatalf("%v: %s", err, stdout.String())
	}
	return out
}

// writeLarge writes a random checkpoint of Qwen2-VL's kind with the zoo's tokenizer.
func writeLarge(t testing.TB, dir string, change func(c *models.Config)) {
	t.Helper()
	base, err := root.Dir()
	if err != nil {
		t.Fatal(err)
	}
	p, err := models.LoadProcessor(filepath.Join(base, "models", "zoo", "qwen2vl-nano"))
	if err != nil {
		t.Fatal(err)
	}
	config := *p.Config
	change(&config)
	p.Config = &config
	if err := models.WriteRandom(dir, p, "BF16", 1); err != nil {
		t.Fatal(err)
	}
}

// billion has the widths of Qwen2-VL-2B's language model and, with 20 layers, 1.04
// billion parameters.
func billion(layers int) func(c *models.Config) {
	return func(c *models.Config) {
		t := &c.Text
		t.Hidden, t.Intermediate, t.Heads, t.KVHeads, t.HeadDim, t.Layers, t.Vocab = 1536, 8960, 12, 2, 128, layers, 65536
		t.MRopeSection = [3]int{16, 24, 24}
		c.Vision.Depth = 4
	}
}

// BenchmarkCalibrationMemory calibrates a random checkpoint of a billion parameters' widths
// in processes of their own and reports their peak resident bytes.
func BenchmarkCalibrationMemory(b *testing.B) {
	dir := *memoryDir
	if dir == "" {
		dir = b.TempDir()
	}
	model := filepath.Join(dir, fmt.Sprintf("model-%d", *memoryLayers))
	if _, err := os.Stat(model); err != nil {
		writeLarge(b, model, billion(*memoryLayers))
	}
	for _, q := range [][2]string{{"tlq", "w4a8"}, {"gptq", "w4a16g128"}} {
		b.Run(q[0]+"/"+q[1], func(b *testing.B) {
			for b.Loop() {
				out := filepath.Join(dir, "out-"+q[0])
				if err := os.RemoveAll(out); err != nil {
					b.Fatal(err)
				}
				r := inProcess(b, memoryRun{Model: model, Store: filepath.Join(dir, "store"), Method: q[0], Format: q[1], Samples: *memorySamples, Out: out})
				b.ReportMetric(float64(r.Peak)/(1<<20), "peak-MiB")
				b.ReportMetric(float64(r.Loaded)/(1<<20), "loaded-MiB")
				b.ReportMetric(r.Seconds/float64(*memoryLayers), "s/layer")
				b.Logf("%s at %s: peak %d bytes, estimated %+v, weights %s", q[0], q[1], r.Peak, r.Estimate, r.Hash)
			}
		})
	}
}

// The peak that inspect names is that of a process that calibrates, within 15%, for a
// scale search and for a solver. The machine's page size, its threads and the time of the
// garbage collector make up the rest.
func TestMemoryEstimate(t *testing.T) {
	if testing.Short() {
		t.Skip("calibrates a model of 32 million parameters twice")
	}
	dir := t.TempDir()
	model := filepath.Join(dir, "model")
	writeLarge(t, model, func(c *models.Config) {
		t := &c.Text
		t.Hidden, t.Intermediate, t.Heads, t.KVHeads, t.HeadDim, t.Layers, t.Vocab = 1024, 4096, 8, 2, 128, 2, 2048
		t.MRopeSection = [3]int{16, 24, 24}
	})
	const tolerance = 0.15
	for _, run := range []memoryRun{
		{Method: "tlq", Format: "w4a8", Set: []string{"search.points=2"}},
		{Method: "gptq", Format: "w4a16g128"},
	} {
		run.Model, run.Store, run.Samples = model, filepath.Join(dir, run.Method), 1
		r := inProcess(t, run)
		want := r.Estimate.Total
		if run.Method == "gptq" {
			want = r.Estimate.Solve
		}
		t.Logf("%s: peak %d bytes, %d when loaded; estimated %d: %+v", run.Method, r.Peak, r.Loaded, want, r.Estimate)
		if r.Peak == 0 {
			t.Skip("this system tells no peak")
		}
		if off := float64(want)/float64(r.Peak) - 1; off < -tolerance || off > tolerance {
			t.Errorf("%s: the estimate is off by %+.0f%%; expected at most %.0f%%", run.Method, 100*off, 100*tolerance)
		}
	}
}
