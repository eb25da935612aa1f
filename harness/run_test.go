package harness

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlqlab/tlqlab/internal/tiny"
)

// tinySpec is a grid over the random model that takes a second or two.
func tinySpec() Spec {
	s := DefaultSpec()
	s.Name, s.Models, s.Limit, s.Calibration.Samples = "tiny", []string{"zoo:tiny-nano"}, 6, 3
	s.Tasks, s.Formats = []string{"emoji", "scene"}, []string{"w4a8", "w3a16g16"} // its inputs are 32 wide
	s.Stats.Bootstrap.Resamples = 2000
	return s
}

func mustRun(t *testing.T, s *Session, spec Spec, o RunOptions) []Record {
	t.Helper()
	p, err := NewPlan(s, spec)
	if err != nil {
		t.Fatal(err)
	}
	records, err := p.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// undisturbed is one run of tinySpec that tests compare theirs with. Its store
// must not be changed: see copyOf.
type undisturbed struct {
	root, store, dir string
	records          []Record
}

var theRun = sync.OnceValues(func() (*undisturbed, error) {
	u := &undisturbed{root: filepath.Join(scratch, "root"), store: filepath.Join(scratch, "store"), dir: filepath.Join(scratch, "run")}
	if err := tiny.Write(filepath.Join(ZooDir(u.root), "tiny-nano"), 1); err != nil {
		return nil, err
	}
	s, err := NewSession(u.root, u.store, 0)
	if err != nil {
		return nil, err
	}
	p, err := NewPlan(s, tinySpec())
	if err != nil {
		return nil, err
	}
	u.records, err = p.Run(context.Background(), RunOptions{Dir: u.dir, Code: "test"})
	return u, err
})

// scratch holds what tests share.
var scratch string

func TestMain(m *testing.M) {
	answerAsChild()
	dir, err := os.MkdirTemp("", "harness-test-")
	if err != nil {
		panic(err)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func mustUndisturbed(t *testing.T) *undisturbed {
	t.Helper()
	u, err := theRun()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// session works in the run's root with a store of its own, empty or a copy.
func (u *undisturbed) session(t *testing.T, copied bool) *Session {
	t.Helper()
	dir := t.TempDir()
	if copied {
		if err := os.CopyFS(dir, os.DirFS(u.store)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := NewSession(u.root, dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRunWritesARunsFolder(t *testing.T) {
	u := mustUndisturbed(t)
	dir, records, spec := u.dir, u.records, tinySpec()
	read, err := ReadRecords(filepath.Join(dir, RecordsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := SameRun(records, read); err != nil {
		t.Error(err)
	}
	if len(records) != 1+len(spec.Formats)*len(spec.Methods) {
		t.Fatalf("%d records", len(records))
	}
	fp := records[0]
	if fp.Method != MethodFP || fp.Format != "" || fp.Delta != (Delta{P: 1}) || fp.AvgBits != 16 || fp.Metrics.KL != 0 || fp.Scale != "nano" || fp.Family != "qwen2vl" {
		t.Errorf("unquantized row: %+v", fp)
	}
	for _, r := range records {
		checkRecord(t, dir, &r, spec)
	}
	for i, r := range records[1:] {
		if r.WeightsSHA256 == fp.WeightsSHA256 || !(r.Metrics.KL > 0) {
			t.Errorf("row %d is not quantized: %+v", i+1, r.Metrics)
		}
	}
}

func checkRecord(t *testing.T, dir string, r *Record, spec Spec) {
	t.Helper()
	if r.Status != StatusOK || r.N != 12 || len(r.Tasks) != 2 || r.SpecSHA256 != spec.Hash() || len(r.WeightsSHA256) != 64 || r.Code != "test" {
		t.Errorf("%s: %+v", r.Cell(), r)
	}
	samples, err := ReadSamples(dir, r.Samples)
	if err != nil || len(samples) != r.N {
		t.Errorf("%s: %d samples, %v", r.Cell(), len(samples), err)
	}
	if r.Method == MethodFP {
		return
	}
	trace, err := ReadTrace(dir, r.Trace)
	if err != nil || len(trace.Layers) != 3 {
		t.Errorf("%s: trace: %v", r.Cell(), err)
	}
	if r.Method == "rtn" {
		return
	}
	tokens, err := ReadTokenMap(dir, r.TokenMap)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, tokens.Image)); err != nil {
		t.Error(err)
	}
}

func TestSecondRunComesFromTheStore(t *testing.T) {
	u := mustUndisturbed(t)
	s := u.session(t, true)
	p, err := NewPlan(s, tinySpec())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range p.Stages {
		if !st.Stored {
			t.Errorf("the plan's %s (%s) is not what the run stored", st.Stage, st.What)
		}
	}
	second, err := p.Run(t.Context(), RunOptions{Dir: t.TempDir(), Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := SameRun(u.records, second); err != nil {
		t.Error(err)
	}
	m, err := s.Model("zoo:tiny-nano")
	if err != nil {
		t.Fatal(err)
	}
	if m.lazy.started() {
		t.Error("a run from the store started the backend")
	}
}

func TestWorkersGiveTheSameRun(t *testing.T) {
	u := mustUndisturbed(t)
	if err := SameRun(u.records, mustRun(t, u.session(t, false), tinySpec(), RunOptions{Dir: t.TempDir(), Workers: 4})); err != nil {
		t.Error(err)
	}
}

func TestDamagedStoreIsRecomputedAndReported(t *testing.T) {
	u := mustUndisturbed(t)
	s := u.session(t, true)
	files, _ := s.Store.files()
	for i, f := range files {
		data, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			data = data[:len(data)*2/3]
		} else {
			data[len(data)/2] ^= 1
		}
		if err := os.WriteFile(f.path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	second := mustRun(t, s, tinySpec(), RunOptions{Dir: t.TempDir()})
	if err := SameRun(u.records, second); err != nil {
		t.Error(err)
	}
	for _, r := range second {
		reported := false
		for _, e := range r.Events {
			reported = reported || e.Kind == EventRecomputed
		}
		if !reported {
			t.Errorf("%s: no event tells that its artifacts were recomputed: %v", r.Cell(), r.Events)
		}
	}
}

// TestFailedCellDoesNotStopTheOthers breaks one method's engine run.
func TestFailedCellDoesNotStopTheOthers(t *testing.T) {
	s := mustUndisturbed(t).session(t, true)
	p, err := NewPlan(s, tinySpec())
	if err != nil {
		t.Fatal(err)
	}
	const broken = 2
	p.Cells[broken].q.Method.Tokens.Importance = "nonsense"
	dir := t.TempDir()
	records, err := p.Run(t.Context(), RunOptions{Dir: dir})
	if !errors.Is(err, ErrCellsFailed) || !strings.Contains(err.Error(), "1 of 5") {
		t.Errorf("error %v", err)
	}
	for i, r := range records {
		if want := map[bool]Status{true: StatusFailed, false: StatusOK}[i == broken]; r.Status != want {
			t.Errorf("%s: %s, want %s", r.Cell(), r.Status, want)
		}
	}
	if !strings.Contains(records[broken].Error(), "nonsense") {
		t.Errorf("events %v", records[broken].Events)
	}
	if read, err := ReadRecords(filepath.Join(dir, RecordsFile)); err != nil || len(read) != len(records) {
		t.Errorf("%d records on disk, %v", len(read), err)
	}
}

func TestInterruptedRunGoesOn(t *testing.T) {
	u := mustUndisturbed(t)
	s := u.session(t, false)
	p, err := NewPlan(s, tinySpec())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := p.Run(ctx, RunOptions{Dir: dir}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	if err := SameRun(u.records, mustRun(t, s, tinySpec(), RunOptions{Dir: dir})); err != nil {
		t.Error(err)
	}
}

// TestRunSweeps runs a smaller experiment in the folder of a larger one: the larger one's
// files stay until the smaller one is finished, and are gone then.
func TestRunSweeps(t *testing.T) {
	u := mustUndisturbed(t)
	s, dir := u.session(t, true), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(u.dir)); err != nil {
		t.Fatal(err)
	}
	spec := tinySpec()
	spec.Methods = spec.Methods[:1]
	p, err := NewPlan(s, spec)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Run(ended, RunOptions{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	for i := range u.records {
		if _, err := ReadSamples(dir, u.records[i].Samples); err != nil {
			t.Errorf("an interrupted run took what was there: %v", err)
		}
	}
	records := mustRun(t, s, spec, RunOptions{Dir: dir})
	names := map[string]bool{}
	for _, r := range records {
		names[filepath.Base(r.Samples)], names[filepath.Base(r.Trace)], names[filepath.Base(r.TokenMap)] = true, true, true
	}
	for _, sub := range []string{samplesDir, artifactsDir} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil || len(entries) == 0 {
			t.Fatalf("%s: %d files, %v", sub, len(entries), err)
		}
		for _, e := range entries {
			if !names[e.Name()] && !strings.HasPrefix(e.Name(), "picture-") {
				t.Errorf("%s/%s is of no record", sub, e.Name())
			}
		}
	}
}

func TestRunRefusesOtherPeoplesFolders(t *testing.T) {
	s, _ := tinySession(t)
	p, err := NewPlan(s, tinySpec())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), RunOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, SpecFile)); err == nil {
		t.Error("something was written all the same")
	}
}

func TestPlanRefusesGroupsThatDoNotDivide(t *testing.T) {
	s, _ := tinySession(t)
	spec := tinySpec()
	spec.Formats = []string{"w4a16g128"}
	if _, err := NewPlan(s, spec); err == nil || !strings.Contains(err.Error(), "group size 128 does not divide the 32 input columns") {
		t.Errorf("error %v", err)
	}
	spec.GroupFallback = "halve"
	if _, err := NewPlan(s, spec); err != nil {
		t.Error(err)
	}
}

// TestRunSurvivesKill kills a running process at random moments until one
// gets through, and expects the records of an undisturbed run.
func TestRunSurvivesKill(t *testing.T) {
	if root := os.Getenv("TLQ_TEST_RUN_ROOT"); root != "" {
		runChild(t, root)
		return
	}
	u := mustUndisturbed(t)
	store, dir := t.TempDir(), filepath.Join(t.TempDir(), "run")
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	kills := 0
	for patience := time.Duration(0); ; patience += 40 * time.Millisecond {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRunSurvivesKill$")
		cmd.Env = append(os.Environ(), "TLQ_TEST_RUN_ROOT="+u.root, "TLQ_TEST_RUN_STORE="+store, "TLQ_TEST_RUN_DIR="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(150*time.Millisecond+patience+time.Duration(rng.IntN(250))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		kills++
		if records, err := os.ReadFile(filepath.Join(dir, RecordsFile)); err == nil {
			if _, err := ReadRecords(filepath.Join(dir, RecordsFile)); err != nil {
				t.Errorf("seed %d: half-written records: %v\n%s", seed, err, records)
			}
		}
	}
	got, err := ReadRecords(filepath.Join(dir, RecordsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := SameRun(u.records, got); err != nil {
		t.Errorf("seed %d, %d kills: %v", seed, kills, err)
	}
	if kills == 0 {
		t.Errorf("seed %d: nothing was killed: the test shows nothing", seed)
	}
}

func runChild(t *testing.T, root string) {
	s, err := NewSession(root, os.Getenv("TLQ_TEST_RUN_STORE"), 0)
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, s, tinySpec(), RunOptions{Dir: os.Getenv("TLQ_TEST_RUN_DIR")})
}

func TestPlanIsPrintableAndRepeatable(t *testing.T) {
	s, _ := tinySession(t)
	a, err := NewPlan(s, tinySpec())
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewPlan(s, tinySpec())
	if err != nil {
		t.Fatal(err)
	}
	if a.Key != b.Key || a.DefaultDir() != "runs/tiny-"+a.Key.Short() {
		t.Errorf("keys %s %s, folder %s", a.Key, b.Key, a.DefaultDir())
	}
	if text := a.String(); !strings.Contains(text, "5 cells") || !strings.Contains(text, "calibrate") || !strings.Contains(text, "to do") {
		t.Error(text)
	}
	if _, err := json.Marshal(a); err != nil {
		t.Error(err)
	}
	other := tinySpec()
	other.Seeds = []uint64{1}
	if c, err := NewPlan(s, other); err != nil || c.Key == a.Key {
		t.Errorf("another seed keeps the key (%v)", err)
	}
}
