package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/internal/root"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// Session is what stages run in: the project's folder, the store, and the
// models that were loaded. A notebook cell begins with one:
//
//	s := display.Must(harness.Open())
//	m := display.Must(s.Model("zoo:qwen2vl-nano"))
//	g := display.Must(m.Gradients(m.Calibration("default", 64, 0)))
//
// Stage functions cost milliseconds where the store has their result. A Session
// may be used by several goroutines.
type Session struct {
	Root  string // the project's folder
	Store *Store

	ctx      context.Context
	progress stepper
	workers  int   // calls side by side; 0: as many as fit
	streams  int64 // bytes of a calibration's streams that stay in memory
	shared   *sharedModels
}

// stepper is what stages tell that steps of theirs are done; a nil *display.Progress is one.
type stepper interface{ Add(steps int) }

type sharedModels struct {
	mu     sync.Mutex
	models map[string]*Model // by folder
	edited map[Key]*lazy     // edited forms of them
}

// Open finds the project's folder and opens the store.
func Open() (*Session, error) {
	dir, err := root.Dir()
	if err != nil {
		return nil, err
	}
	store, err := StoreDir(dir)
	if err != nil {
		return nil, err
	}
	limit, err := StoreLimit()
	if err != nil {
		return nil, err
	}
	return NewSession(dir, store, limit)
}

// NewSession works in the project's folder with a store in storeDir of at most
// limit bytes, 0 for no limit.
func NewSession(root, storeDir string, limit int64) (*Session, error) {
	store, err := OpenStore(storeDir, limit)
	if err != nil {
		return nil, err
	}
	return &Session{
		Root: root, Store: store, streams: streamBytes, progress: (*display.Progress)(nil), ctx: WithEvents(context.Background(), &EventLog{Echo: os.Stderr}),
		shared: &sharedModels{models: map[string]*Model{}, edited: map[Key]*lazy{}},
	}, nil
}

// Events lists what came up in the session so far: what the engine reported of
// the results that were used, and stored artifacts that had to be recomputed,
// which are also told on standard error.
func (s *Session) Events() []Event {
	if log := eventsOf(s.ctx); log != nil {
		return log.Events()
	}
	return []Event{}
}

// WithContext returns a session whose stages end when ctx does and report
// their events there.
func (s *Session) WithContext(ctx context.Context) *Session {
	c := *s
	c.ctx = ctx
	return &c
}

// WithProgress returns a session whose stages advance p: one step for each of
// a Plan's steps.
func (s *Session) WithProgress(p *display.Progress) *Session { return s.stepping(p) }

func (s *Session) stepping(p stepper) *Session {
	c := *s
	c.progress = p
	return &c
}

// Model is a checkpoint in a session.
type Model struct {
	Name string // as it was named
	Dir  string
	*models.Model
	WeightsSHA256 string    // of all weights
	Manifest      *Manifest // of a quantized model's folder; nil for an ordinary one

	s        *Session
	key      Key
	lazy     *lazy
	rotation *ptq.Rotation   // that made it; nil: none
	outliers *outlierWeights // that were injected; nil: none
	tower    bool            // the vision tower is rounded
}

// lazy is what a model makes when it is first needed.
type lazy struct {
	model *models.Model
	base  *Model // that an edit was made of; nil for a checkpoint

	mu        sync.Mutex
	runner    *models.Runner
	sequences map[Key]func() ([]*models.Sequence, error) // tokenized samples

	sizing sync.Once
	sizes  *sizes
}

// Model opens a model that is named "zoo:NAME" or by its folder. Weights are
// hashed; the backend starts with the first stage that computes.
func (s *Session) Model(name string) (*Model, error) {
	dir, err := ModelDir(s.Root, name)
	if err != nil {
		return nil, fmt.Errorf("harness: %w", err)
	}
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	if m, ok := s.shared.models[dir]; ok {
		c := *m
		c.s, c.Name = s, name
		return &c, nil
	}
	loaded, err := models.Load(dir)
	if err != nil {
		return nil, err
	}
	m, err := s.adopt(name, dir, loaded)
	if err != nil {
		return nil, err
	}
	s.shared.models[dir] = m
	return m, nil
}

// modelStage is the version of how a model's key is made.
var modelStage = StageID{"model", 1}

func (s *Session) adopt(name, dir string, loaded *models.Model) (*Model, error) {
	hash, err := loaded.Hash()
	if err != nil {
		return nil, fmt.Errorf("harness: model %s: %w", name, err)
	}
	var text []byte
	if loaded.Tokenizer != nil { // a language model alone may have none
		text = loaded.Tokenizer.JSON()
	}
	tokenizer := sha256.Sum256(text)
	processor, err := json.Marshal(loaded.Pixels)
	if err != nil {
		return nil, fmt.Errorf("harness: model %s: %w", name, err)
	}
	backend, err := backendName()
	if err != nil {
		return nil, err
	}
	manifest, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	activations := 16
	if manifest != nil {
		activations = manifest.Format.Activation
		if manifest.VisionTower {
			config := *loaded.Config
			config.Vision.Inputs = manifest.Format.ActQuant()
			loaded = loaded.Edited(models.Edit{Config: &config})
		}
	}
	key := NewKey(modelStage, struct {
		Config    *models.Config  `json:"config"`
		Tokenizer string          `json:"tokenizer"`
		Pixels    json.RawMessage `json:"pixels"`
		System    string          `json:"system"`
		Backend   string          `json:"backend"`
		// Activations are the bits that a quantized model's folder asks for.
		Activations int `json:"activations"`
		// VisionTower tells that they hold for the vision tower too.
		VisionTower bool `json:"vision_tower,omitempty"`
	}{loaded.Config, hex.EncodeToString(tokenizer[:]), processor, loaded.System, backend, activations, manifest != nil && manifest.VisionTower}, Key(hash))
	return &Model{Name: name, Dir: dir, Model: loaded, WeightsSHA256: hash, Manifest: manifest, s: s, key: key, lazy: &lazy{
		model: loaded, sequences: map[Key]func() ([]*models.Sequence, error){},
	}}, nil
}

// backendName is part of every key, because backends differ in the last bits.
func backendName() (string, error) {
	if name := os.Getenv("GOMLX_BACKEND"); name != "" {
		return name, nil
	}
	return defaultBackend()
}

// defaultBackend is the name of the backend that models open by default.
var defaultBackend = sync.OnceValues(func() (string, error) {
	b, err := models.NewBackend()
	if err != nil {
		return "", err
	}
	defer b.Finalize()
	return b.Name(), nil
})

// Runner returns the model's runner, compiling nothing yet.
func (m *Model) Runner() (*models.Runner, error) {
	l := m.lazy
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runner != nil {
		return l.runner, nil
	}
	if l.base != nil {
		r, err := l.base.Runner()
		if err != nil {
			return nil, err
		}
		l.runner = r.With(l.model)
		return l.runner, nil
	}
	r, err := models.NewRunner(l.model)
	l.runner = r
	return r, err
}

// started tells whether a runner was needed.
func (l *lazy) started() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runner != nil
}

// Key names the model in the keys of everything that is made from it.
func (m *Model) Key() Key { return m.key }

// Scale is the size in the model's name, or "".
func (m *Model) Scale() string { return modelScale(m.Name) }

// WithProgress returns the model in a session whose stages advance p.
func (m *Model) WithProgress(p *display.Progress) *Model { return m.in(m.s.WithProgress(p)) }

// in returns the model in another session of the same store.
func (m *Model) in(s *Session) *Model {
	c := *m
	c.s = s
	return &c
}

// dataHash is the hash of the packs and the generators.
func dataHash() (string, error) {
	hash, err := datasets.Hash()
	if err != nil {
		return "", fmt.Errorf("harness: %w", err)
	}
	return hash, nil
}

// codec turns a stage's result into an artifact and back.
type codec[T any] struct {
	encode func(T) (*Artifact, error)
	decode func(*Artifact) (T, error)
}

// jsonCodec keeps a result as JSON alone.
func jsonCodec[T any]() codec[T] {
	return codec[T]{
		encode: func(v T) (*Artifact, error) { return NewArtifact(v) },
		decode: func(a *Artifact) (v T, err error) { return v, a.Decode(&v) },
	}
}

// once returns a stage's result from the store, or computes and keeps it with
// its events. What the store has but can't be read as a result is computed
// again and reported. compute gets the model in a session that collects events.
func once[T any](m *Model, name string, key Key, c codec[T], compute func(*Model) (T, error)) (T, error) {
	result, err := tryOnce(m, name, key, c, compute)
	var damaged *DamagedError
	if !errors.As(err, &damaged) {
		return result, err
	}
	Report(m.s.ctx, EventRecomputed, "%s: %v", name, damaged)
	if err := m.s.Store.Remove(key); err != nil {
		return result, err
	}
	return tryOnce(m, name, key, c, compute)
}

func tryOnce[T any](m *Model, name string, key Key, c codec[T], compute func(*Model) (T, error)) (result T, err error) {
	computed := false
	a, _, err := m.s.Store.Do(m.s.ctx, name, key, func(ctx context.Context) (*Artifact, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var log EventLog
		var err error
		result, err = compute(m.in(m.s.WithContext(WithEvents(ctx, &log))))
		log.forward(m.s.ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		computed = true
		a, err := c.encode(result)
		if err != nil {
			return nil, err
		}
		a.Events = log.lasting()
		return a, nil
	})
	if err != nil || computed {
		return result, err
	}
	if result, err = c.decode(a); err != nil {
		return result, &DamagedError{Path: m.s.Store.Path(key), Reason: err.Error()}
	}
	for _, e := range a.Events {
		Report(m.s.ctx, e.Kind, "%s", e.Text)
	}
	return result, nil
}

// layerSteps is the share of a calibrated layer in the progress, in questions
// answered.
const layerSteps = 10

// step tells the progress display that n of the Plan's steps are done.
func (s *Session) step(n int) { s.progress.Add(n) }
