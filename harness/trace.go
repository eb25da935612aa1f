package harness

import (
	"slices"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// CalibrationSteps is how far calibrating advances a progress display.
func (m *Model) CalibrationSteps() int { return m.NumLayers() * layerSteps }

// Trace tells how the layers were calibrated: every search's curve, and how
// the error of the quantized path grows. Stage calibrate.
func (m *Model) Trace(c *Samples, q Quantization) (*Trace, error) {
	m, c, err := m.prepared(c, q)
	if err != nil {
		return nil, err
	}
	layers, err := m.calibrate(c, q)
	if err != nil {
		return nil, err
	}
	t := &Trace{Model: m.Name, Format: settingName(q.Format.String(), q.Outliers.String()), Method: q.Method.Name, Seed: c.Seed}
	for i, r := range layers.reports {
		t.Layers = append(t.Layers, TraceLayer{
			Index: i, Sites: traceSites(r), FPNorm: r.FPNorm, Local: r.Local, Exposed: TokenErrors(r.Report.Stream),
		})
	}
	return t, nil
}

func traceSites(r layerReport) map[string]TraceSite {
	sites := map[string]TraceSite{}
	for _, s := range r.Report.Sites {
		if s.Skipped != "" || len(s.Curve) == 0 { // not searched, or in closed form
			continue
		}
		factors := r.Factors[string(s.Site)]
		sites[string(s.Site)] = TraceSite{
			Alphas: s.Alphas, J: s.Curve, Chosen: slices.Index(s.Alphas, s.Alpha), Factors: factors[:], Tokens: s.Tokens,
		}
	}
	return sites
}

// TokenMap shows the importance of every token of one sample, and which of
// them the token-level calibration set keeps. Image is left empty: the caller
// knows where it lies.
func (m *Model) TokenMap(c *Samples, q Quantization, sample int) (*TokenMap, error) {
	seqs, err := c.Sequences()
	if err != nil {
		return nil, err
	}
	examples, err := c.Examples()
	if err != nil {
		return nil, err
	}
	selected, err := m.selected(c, q)
	if err != nil {
		return nil, err
	}
	seq, example := seqs[sample], examples[sample]
	t := &TokenMap{
		Model: m.Name, Format: settingName(q.Format.String(), q.Outliers.String()), Method: q.Method.Name, Seed: c.Seed,
		Question: example.Question, Answer: example.Answers[0],
	}
	m.placeTokens(t, seq)
	for i, sites := range selected {
		for _, site := range models.Sites() {
			if s, ok := sites[site]; ok {
				t.addLayer(i, site, s.Importance[sample], s.Tokens[sample])
			}
		}
	}
	t.average()
	return t, nil
}

// selected gives every layer's token-level calibration sets: at the output sites or, where
// they are selected while layers are calibrated, at every site that reads one. Stage tokens or
// calibrate.
func (m *Model) selected(c *Samples, q Quantization) ([]map[models.Site]ptq.SiteTokens, error) {
	list := make([]map[models.Site]ptq.SiteTokens, m.NumLayers())
	if t := q.Method.Tokens; t.MeasuredLate(t.Importance) || t.MeasuredLate(weightImportance(t)) {
		m, c, err := m.prepared(c, q)
		if err != nil {
			return nil, err
		}
		layers, err := m.calibrate(c, q)
		if err != nil {
			return nil, err
		}
		for i := range list {
			l, err := layers.at(i)
			if err != nil {
				return nil, err
			}
			list[i] = l.late
		}
		return list, nil
	}
	importance, err := m.Importance(c, q)
	if err != nil {
		return nil, err
	}
	tokens, err := m.Tokens(c, q)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i] = map[models.Site]ptq.SiteTokens{}
		for _, site := range []models.Site{models.O, models.Down} {
			list[i][site] = ptq.SiteTokens{Importance: importance.Layers[i].At(site), Tokens: tokens.Layers[i].At(site)}
		}
	}
	return list, nil
}

// placeTokens fills in what the tokens are and where vision tokens lie in the
// first picture.
func (m *Model) placeTokens(t *TokenMap, seq *models.Sequence) {
	var places [][2]int
	if len(seq.Images) > 0 {
		t.Rows, t.Cols, places = m.Config.Places(seq.Images[0])
	}
	vision := 0
	for i, id := range seq.IDs {
		token := MapToken{Modality: seq.Modality[i].String()}
		if seq.Modality[i] == models.Vision {
			if vision < len(places) {
				token.Row, token.Col = places[vision][0], places[vision][1]
			}
			vision++
		} else {
			token.Text = m.Tokenizer.Decode([]int32{id}, false)
		}
		t.Tokens = append(t.Tokens, token)
	}
}

func (t *TokenMap) addLayer(layer int, site models.Site, importance []float32, kept ptq.SampleTokens) {
	l := MapLayer{Layer: layer, Site: string(site), Importance: make([]float64, len(importance)), Weight: make([]float64, len(importance))}
	for i, v := range importance {
		l.Importance[i] = float64(v)
	}
	for i, v := range kept.Dense(len(importance)) {
		l.Weight[i] = float64(v)
	}
	t.Layers = append(t.Layers, l)
}

// average fills in Tokens' importance and share of kept layers.
func (t *TokenMap) average() {
	n := float64(len(t.Layers))
	for _, l := range t.Layers {
		var sum float64
		for _, v := range l.Importance {
			sum += v
		}
		for i := range t.Tokens {
			if sum > 0 {
				t.Tokens[i].Importance += l.Importance[i] / sum / n
			}
			if l.Weight[i] > 0 {
				t.Tokens[i].Kept += 1 / n
			}
		}
	}
}
