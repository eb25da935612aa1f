package ptq

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/models"
)

func mustOutliers(t *testing.T, text string) Outliers {
	t.Helper()
	o, err := ParseOutliers(text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOutliersText(t *testing.T) {
	for text, want := range map[string]string{
		"": "none", "none": "none", "channel": "channel*16", "modality": "modality-vision*16", "modality-answer*64/3": "modality-answer*64/3",
		"sink@down": "sink*16@down", "channel*2/1@qkv+down": "channel*2/1@qkv+down", "sink@qkv+gate_up": "sink*16",
	} {
		o := mustOutliers(t, text)
		if o.String() != want {
			t.Errorf("%q is written %q, want %q", text, o, want)
		}
		if again := mustOutliers(t, o.String()); cmp.Diff(o, again) != "" {
			t.Errorf("%q does not read back", text)
		}
	}
	for text, why := range map[string]string{
		"chanel": "did you mean \"channel\"", "channel-vision": "takes no modality", "modality-text": "vision, answer or other", "channel*20": "power of two",
		"channel*1": "power of two", "sink/0": "1 or more", "channel@head": "site is", "channel@qkv+qkv": "twice", "channel*x": "no whole number",
	} {
		if _, err := ParseOutliers(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// injected is the tiny model with outliers, and the statistics of both.
func injected(t *testing.T, o Outliers) (m *models.Model, before, after []ChannelStats, chosen OutlierChannels) {
	t.Helper()
	tm := getTiny(t, 4)
	before, err := MeasureChannels(context.Background(), tm.model, tm.runner, tm.batches)
	if err != nil {
		t.Fatal(err)
	}
	chosen = o.Choose(before, rand.New(rand.NewPCG(1, 1)))
	m = tm.model.Edited(models.Edit{Layer: func(l *models.Layer) error { return o.Inject(l, chosen) }})
	after, err = MeasureChannels(context.Background(), m, tm.runner.With(m), tm.batches)
	if err != nil {
		t.Fatal(err)
	}
	return m, before, after, chosen
}

// Outliers of every kind leave all logits as they are, bit for bit; the chosen channels, and
// no others, grow by the factor.
func TestOutliersKeepTheFunction(t *testing.T) {
	tm := getTiny(t, 4)
	for _, text := range []string{"channel", "channel*64/3@qkv+o+gate_up+down", "modality*32/2", "modality-answer*8/2@down", "sink*128/2@gate_up+down"} {
		o := mustOutliers(t, text)
		m, before, after, chosen := injected(t, o)
		for _, b := range tm.batches {
			want, err := tm.runner.Forward(b, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tm.runner.With(m).Forward(b, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the residual stream differs by %g", text, furthest(got, want))
			}
		}
		for i := range after {
			for _, site := range models.Sites() {
				for kind := range after[i][site] {
					for c, v := range after[i][site][kind].Max {
						want := before[i][site][kind].Max[c]
						if slices.Contains(chosen[i][site], c) {
							want *= float64(o.Factor)
						}
						if v != want {
							t.Fatalf("%s, layer %d, %s, channel %d: largest |x| %g, want %g", text, i, site, c, v, want)
						}
					}
				}
			}
		}
	}
}

// Modality outliers are chosen where a naive ratio of means says so, and show most
// in that modality.
func TestOutliersOfAModality(t *testing.T) {
	tm := getTiny(t, 4)
	o := mustOutliers(t, "modality*64/1")
	_, before, after, chosen := injected(t, o)
	for i := range chosen {
		for site, list := range chosen[i] {
			best, at := -1.0, 0
			for c := range before[i][site][0].Mean {
				var mine, rest, n, m float64
				for k, s := range before[i][site] {
					if TokenKind(k) == KindVision {
						mine, n = mine+s.Mean[c]*float64(s.Tokens), n+float64(s.Tokens)
					} else {
						rest, m = rest+s.Mean[c]*float64(s.Tokens), m+float64(s.Tokens)
					}
				}
				if r := mine / n / (rest / m); r > best {
					best, at = r, c
				}
			}
			if len(list) != 1 || list[0] != at {
				t.Errorf("layer %d, %s: chose %v, the ratio of means says %d", i, site, list, at)
			}
		}
	}
	vision, _ := Peak(after, KindVision, o.Sites...)
	was, _ := Peak(before, KindVision, o.Sites...)
	if vision < 4*was {
		t.Errorf("largest |x| of vision tokens %g, before %g", vision, was)
	}
	total := 0
	for _, s := range before[0][models.QKV] {
		total += s.Tokens
	}
	want := 0
	for _, b := range tm.batches {
		for _, s := range b.Seqs {
			want += s.Len()
		}
	}
	if total != want || before[0][models.QKV][KindSink].Tokens != len(tinyPatterns) {
		t.Errorf("%d tokens, %d of them first ones; want %d and %d", total, before[0][models.QKV][KindSink].Tokens, want, len(tinyPatterns))
	}
}

// Where a channel cannot be scaled, outliers are refused by name.
func TestOutliersRefuse(t *testing.T) {
	l, err := getTiny(t, 2).model.Layer(0)
	if err != nil {
		t.Fatal(err)
	}
	for text, why := range map[string]string{"channel@o": "grouped-query", "channel/33": "33 channels of the 32"} {
		if err := mustOutliers(t, text).Check(l); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := mustOutliers(t, "sink").Check(l); err != nil {
		t.Error(err)
	}
}

func FuzzParseOutliers(f *testing.F) {
	for _, text := range []string{"channel", "modality-vision*32/2@qkv+down", "sink@", "channel**/", "none"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := ParseOutliers(text)
		if err != nil {
			return
		}
		if again, err := ParseOutliers(o.String()); err != nil || cmp.Diff(o, again) != "" {
			t.Errorf("%q is written %q, which reads as %v, %v", text, o, again, err)
		}
	})
}
