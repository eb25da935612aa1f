package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// outliersStage chooses the channels that become outliers, and measures them.
var outliersStage = StageID{"outliers", 1}

// The samples that outliers are chosen by: the same for all experiments, since outliers are
// a property of the model and not of a calibration.
const (
	outlierSamples = 16
	outlierSeed    = 0
)

// EventOutliers is the kind of the event that tells of injected outliers.
const EventOutliers = "outliers"

// InjectedOutliers tells which channels of a model are outliers, and how large they are.
type InjectedOutliers struct {
	Outliers ptq.Outliers        `json:"outliers"`
	Channels ptq.OutlierChannels `json:"channels"` // by layer and site
	Samples  int                 `json:"samples"`  // that were measured
	// Kinds are the activations of each kind of token at the sites.
	Kinds []OutlierPeak `json:"kinds"`
}

// OutlierPeak is the size of activations of one kind of token before and after outliers
// are injected.
type OutlierPeak struct {
	Kind   string     `json:"kind"`   // vision, answer, other or sink: the first token of a sequence
	Peak   [2]float64 `json:"peak"`   // largest |x| that the sites' linears read, over all layers
	Spread [2]float64 `json:"spread"` // the most by which a layer's largest channel exceeds its median one
}

// String is one line: where, and how the largest |x| grew by kind of token.
func (o *InjectedOutliers) String() string {
	var parts []string
	for _, k := range o.Kinds {
		parts = append(parts, fmt.Sprintf("%s %.3g → %.3g (largest over median channel %.3g → %.3g)", k.Kind, k.Peak[0], k.Peak[1], k.Spread[0], k.Spread[1]))
	}
	return fmt.Sprintf("%s, on %d samples: largest |x| of %s", o.Outliers, o.Samples, strings.Join(parts, ", "))
}

// outlierWeights is what makes a model's outliers.
type outlierWeights struct {
	outliers ptq.Outliers
	key      Key
	base     *Model
	found    func() (*InjectedOutliers, error)
}

// WithOutliers returns the model with outliers injected: the same function, in other
// weights. The channels are chosen when weights are first read.
func (m *Model) WithOutliers(o ptq.Outliers) (*Model, error) {
	switch {
	case o.None():
		return m, nil
	case m.outliers != nil && m.outliers.outliers.String() == o.String():
		return m, nil
	case m.outliers != nil || m.rotation != nil:
		return nil, fmt.Errorf("harness: model %s: outliers %s go into the model as it was trained; expected one without a rotation and without outliers", m.Name, o)
	}
	l, err := m.Layer(0)
	if err != nil {
		return nil, err
	}
	if err := o.Check(l); err != nil {
		return nil, fmt.Errorf("harness: model %s: %w", m.Name, err)
	}
	data, err := dataHash()
	if err != nil {
		return nil, err
	}
	w := &outlierWeights{outliers: o, key: NewKey(outliersStage, o, m.samples("default", outlierSamples, outlierSeed, Key(data)).key), base: m}
	// What ends a session must not end the choice, which others share.
	quiet := m.in(m.s.WithContext(WithEvents(context.WithoutCancel(m.s.ctx), &EventLog{})).WithProgress(nil))
	w.found = sync.OnceValues(func() (*InjectedOutliers, error) { return w.choose(quiet) })
	on := m.edited(models.Edit{Layer: func(l *models.Layer) error {
		found, err := w.found()
		if err != nil {
			return err
		}
		return o.Inject(l, found.Channels)
	}}, w.key)
	on.outliers = w
	return on, nil
}

// Outliers tells of the outliers that the model has; nil where none were injected. Stage
// outliers.
func (m *Model) Outliers() (*InjectedOutliers, error) {
	if m.outliers == nil {
		return nil, nil
	}
	return m.outliers.found()
}

// choose finds the channels and measures both models.
func (w *outlierWeights) choose(m *Model) (*InjectedOutliers, error) {
	return once(m, fmt.Sprintf("outliers %s of %s", w.outliers, m.Name), w.key, jsonCodec[*InjectedOutliers](), func(m *Model) (*InjectedOutliers, error) {
		c, err := m.Calibration("default", outlierSamples, outlierSeed)
		if err != nil {
			return nil, err
		}
		seqs, err := c.Sequences()
		if err != nil {
			return nil, err
		}
		x, err := c.embeddings(m)
		if err != nil {
			return nil, err
		}
		batches, err := m.NewBatches(seqs, x)
		if err != nil {
			return nil, err
		}
		r, err := m.Runner()
		if err != nil {
			return nil, err
		}
		before, err := ptq.MeasureChannels(m.s.ctx, m.Model, r, batches)
		if err != nil {
			return nil, err
		}
		o := w.outliers
		out := &InjectedOutliers{Outliers: o, Samples: c.N, Channels: o.Choose(before, rand.New(rand.NewPCG(outlierSeed, outlierStream)))}
		injected := m.Model.Edited(models.Edit{Layer: func(l *models.Layer) error { return o.Inject(l, out.Channels) }})
		after, err := ptq.MeasureChannels(m.s.ctx, injected, r.With(injected), batches)
		if err != nil {
			return nil, err
		}
		for _, kind := range []ptq.TokenKind{ptq.KindVision, ptq.KindAnswer, ptq.KindOther, ptq.KindSink} {
			p := OutlierPeak{Kind: kind.String()}
			p.Peak[0], p.Spread[0] = ptq.Peak(before, kind, o.Sites...)
			p.Peak[1], p.Spread[1] = ptq.Peak(after, kind, o.Sites...)
			out.Kinds = append(out.Kinds, p)
		}
		return out, nil
	})
}

// outlierStream is the stream of a generator that draws channels.
const outlierStream = 4

// setOutliers reads outliers from their text form, "" for none.
func (q *Quantization) setOutliers(text string) (err error) {
	q.Outliers, err = ptq.ParseOutliers(text)
	return err
}

// noOutliers is how a Record names the lack of outliers.
const noOutliers = "none"

// settingName is a format, with the outliers that were injected: "w4a8",
// "w4a8 with channel*16 outliers".
func settingName(format, outliers string) string {
	if outliers == "" || outliers == noOutliers {
		return format
	}
	return format + " with " + outliers + " outliers"
}

// Setting is what tables compare methods at: the record's format, and the outliers that
// were injected.
func (r *Record) Setting() string { return settingName(r.Format, r.Outliers) }
