package ptq

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/models"
)

// Outliers injects large activations into a model without changing its function, to
// study what they do to quantization: a channel that a site's linears read is multiplied by
// Factor in what feeds the site (a norm's gain, or rows of up_proj or v_proj), and the
// linears' columns are divided by it. Factor is a power of two, so that every logit
// keeps its bits. That is just what a scale search undoes: channel outliers show that it
// works, no more. The zero value injects nothing.
//
// Its text form is KIND[-MODALITY][*FACTOR][/CHANNELS][@SITE+SITE…], such as "channel",
// "modality-vision*32/2" or "sink@down"; what is left out takes [DefaultOutliers].
type Outliers struct {
	Kind OutlierKind
	// Modality is whose tokens the channels are chosen for, under OutlierModality.
	Modality models.Modality
	Factor   int           // a power of two from 2 to 65536
	Channels int           // per site; 0: one of 32, at least one
	Sites    []models.Site // qkv and gate_up where none are named
}

// OutlierKind says which channels become outliers.
type OutlierKind string

// Kinds of outliers.
const (
	OutlierNone OutlierKind = ""
	// OutlierChannel takes channels at random, the same in all layers, as in language
	// models: the outliers show in all tokens.
	OutlierChannel OutlierKind = "channel"
	// OutlierModality takes, per layer and site, the channels in which the tokens of one
	// modality stand out most: by mean|x| over them divided by mean|x| over all others.
	OutlierModality OutlierKind = "modality"
	// OutlierSink does so for the first token of every sequence, on which attention
	// collects: massive activations of one token.
	OutlierSink OutlierKind = "sink"
)

// Bounds and defaults of outliers.
const (
	defaultOutlierFactor = 16
	maxOutlierFactor     = 1 << 16
	outlierShare         = 32 // one channel of so many
)

// DefaultOutliers are those of a kind with the usual settings: a factor of 16, one channel
// of 32, at what norms feed; vision tokens' for OutlierModality.
func DefaultOutliers(kind OutlierKind) Outliers {
	o := Outliers{Kind: kind}
	if kind == OutlierNone {
		return o
	}
	o.Factor, o.Sites = defaultOutlierFactor, []models.Site{models.QKV, models.GateUp}
	if kind == OutlierModality {
		o.Modality = models.Vision
	}
	return o
}

// ParseOutliers reads the text form; "none" and "" are the zero value. The result is
// valid.
func ParseOutliers(text string) (Outliers, error) {
	if text == "" || text == "none" {
		return Outliers{}, nil
	}
	o, err := parseOutliers(text)
	if err == nil {
		err = o.validate()
	}
	if err != nil {
		return Outliers{}, fmt.Errorf("ptq: outliers %q: %w; expected KIND[-MODALITY][*FACTOR][/CHANNELS][@SITE+SITE], such as channel, modality-vision*32/2 or sink@down", text, err)
	}
	return o, nil
}

func parseOutliers(text string) (o Outliers, err error) {
	rest, sites, named := strings.Cut(text, "@")
	rest, channels, counted := strings.Cut(rest, "/")
	rest, factor, scaled := strings.Cut(rest, "*")
	kind, modality, chosen := strings.Cut(rest, "-")
	kinds := []string{string(OutlierChannel), string(OutlierModality), string(OutlierSink)}
	if !slices.Contains(kinds, kind) {
		return o, fmt.Errorf("unknown kind %q: expected none or %s", kind, choices(kind, kinds))
	}
	o = DefaultOutliers(OutlierKind(kind))
	if chosen {
		if o.Kind != OutlierModality {
			return o, fmt.Errorf("kind %s takes no modality", kind)
		}
		found := false
		for _, m := range []models.Modality{models.Vision, models.Answer, models.Other} {
			if m.String() == modality {
				o.Modality, found = m, true
			}
		}
		if !found {
			return o, fmt.Errorf("unknown modality %q: expected vision, answer or other", modality)
		}
	}
	if scaled {
		if o.Factor, err = strconv.Atoi(factor); err != nil {
			return o, fmt.Errorf("factor %q is no whole number", factor)
		}
	}
	if counted {
		if o.Channels, err = strconv.Atoi(channels); err != nil || o.Channels < 1 {
			return o, fmt.Errorf("%q channels: expected 1 or more", channels)
		}
	}
	if named {
		o.Sites = nil
		for _, s := range strings.Split(sites, "+") {
			o.Sites = append(o.Sites, models.Site(s))
		}
	}
	return o, nil
}

func (o Outliers) validate() error {
	if o.Factor < 2 || o.Factor > maxOutlierFactor || o.Factor&(o.Factor-1) != 0 {
		return fmt.Errorf("factor %d: expected a power of two from 2 to %d, so that no logit changes a bit", o.Factor, maxOutlierFactor)
	}
	for i, s := range o.Sites {
		if err := oneOf("site", s, models.Sites()...); err != nil {
			return err
		}
		if slices.Contains(o.Sites[:i], s) {
			return fmt.Errorf("site %s is named twice", s)
		}
	}
	return nil
}

// None reports whether nothing is injected.
func (o Outliers) None() bool { return o.Kind == OutlierNone }

// String is the text form with all settings that differ from none: "channel*16",
// "modality-vision*32/2@down"; "none" for the zero value.
func (o Outliers) String() string {
	if o.None() {
		return "none"
	}
	text := string(o.Kind)
	if o.Kind == OutlierModality {
		text += "-" + o.Modality.String()
	}
	text += fmt.Sprintf("*%d", o.Factor)
	if o.Channels > 0 {
		text += fmt.Sprintf("/%d", o.Channels)
	}
	if !slices.Equal(o.Sites, DefaultOutliers(o.Kind).Sites) {
		text += "@" + strings.Join(stringsOf(o.Sites), "+")
	}
	return text
}

// MarshalText returns the text form.
func (o Outliers) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the text form.
func (o *Outliers) UnmarshalText(text []byte) error {
	parsed, err := ParseOutliers(string(text))
	if err == nil {
		*o = parsed
	}
	return err
}

// OutlierChannels are the channels that were chosen, ascending, by layer and site.
type OutlierChannels []map[models.Site][]int

// count is the number of channels of a site of the given width.
func (o Outliers) count(width int) int {
	if o.Channels > 0 {
		return min(o.Channels, width)
	}
	return max(1, width/outlierShare)
}

// Check refuses sites that cannot be scaled in a model with such layers.
func (o Outliers) Check(l *models.Layer) error {
	for _, site := range o.Sites {
		if why := unscalable(l, site); why != "" {
			return fmt.Errorf("ptq: outliers %s: %s cannot have any: %s", o, site, why)
		}
		if n := siteIn(l, site); o.Channels > n {
			return fmt.Errorf("ptq: outliers %s: %d channels of the %d that %s reads", o, o.Channels, n, site)
		}
	}
	return nil
}

func siteIn(l *models.Layer, site models.Site) int { return l.Linears(site)[0].In }

// Choose finds the channels: at random from rng for OutlierChannel, else from the
// activation means of a model's layers as [MeasureChannels] finds them.
func (o Outliers) Choose(stats []ChannelStats, rng *rand.Rand) OutlierChannels {
	random := map[int][]int{} // by width
	out := make(OutlierChannels, len(stats))
	for i := range stats {
		out[i] = map[models.Site][]int{}
		for _, site := range o.Sites {
			s := stats[i][site]
			width := len(s[0].Mean)
			n := o.count(width)
			if o.Kind == OutlierChannel {
				if random[width] == nil {
					random[width] = slices.Sorted(slices.Values(rng.Perm(width)[:n]))
				}
				out[i][site] = random[width]
				continue
			}
			out[i][site] = standOut(s, o.kind(), n)
		}
	}
	return out
}

// kind is the token kind that channels are chosen for.
func (o Outliers) kind() TokenKind {
	if o.Kind == OutlierSink {
		return KindSink
	}
	return TokenKind(o.Modality)
}

// standOut lists the n channels with the largest mean over tokens of a kind divided by the
// mean over all others, ascending; the lower channel among equals.
func standOut(s SiteStats, kind TokenKind, n int) []int {
	width := len(s[0].Mean)
	ratio := make([]float64, width)
	for c := range ratio {
		mine := s[kind].Mean[c]
		var rest, tokens float64
		for k := range s {
			if TokenKind(k) != kind {
				rest += s[k].Mean[c] * float64(s[k].Tokens)
				tokens += float64(s[k].Tokens)
			}
		}
		if tokens > 0 {
			rest /= tokens
		}
		ratio[c] = mine / max(rest, 1e-12)
	}
	order := make([]int, width)
	for c := range order {
		order[c] = c
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ratio[b], ratio[a]) })
	return slices.Sorted(slices.Values(order[:n]))
}

// Inject makes the layer's chosen channels outliers, in place. Every output keeps its bits
// unless a weight underflows.
func (o Outliers) Inject(l *models.Layer, channels OutlierChannels) error {
	for _, site := range o.Sites {
		s := make([]float32, siteIn(l, site))
		ones(s)
		for _, c := range channels[l.Index][site] {
			s[c] = 1 / float32(o.Factor)
		}
		if err := FoldScale(l, site, s); err != nil {
			return err
		}
	}
	return nil
}
