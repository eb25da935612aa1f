package harness

import (
	"errors"
	"fmt"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/ptq"
)

// The families that built-in experiments decide; each keeps what its experiment's
// methods can answer.
var claimFamilies = []ClaimFamily{
	{"baselines", "Does a search beat rounding to nearest?", [][2]string{
		{"smoothquant", "rtn"}, {"awq", "rtn"}, {"mbq", "rtn"}, {"qig", "rtn"}, {"tlq", "rtn"}, {"answers", "rtn"},
	}},
	{"modality", "Does it help to weigh modalities?", [][2]string{{"mbq", "awq"}, {"answers", "mbq"}, {"qig", "mbq"}}},
	{"tokens", "Does it help to select vision tokens by importance?", [][2]string{
		{"tlq", "mbq"}, {"tlq", "answers"}, {"tlq", "tlq-random"}, {"tlq", "tlq-least"}, {"tlq", "tlq-shuffled"}, {"tlq", "tlq-fewer"},
	}},
	{"exposure", "Does it help to calibrate on the quantized path?", [][2]string{
		{"mbq-distort", "mbq"}, {"tlq", "tlq-unexposed"}, {"tlq", "tlq-layer"}, {"tlq", "tlq-same"}, {"tlq", "mbq-distort"},
	}},
}

// textFamilies are the questions where there are no pictures, so that every predicted
// token is an answer. MBQ is AWQ with absolute error there, and TLQ, which keeps all answers
// with weight 1, is MBQ on the quantized path: that these are identical is checked, not
// assumed.
var textFamilies = []ClaimFamily{
	{"baselines", "Does a search beat rounding to nearest?", [][2]string{{"smoothquant", "rtn"}, {"awq", "rtn"}, {"mbq", "rtn"}}},
	{"search", "Does absolute error, or the quantized path, serve the search?", [][2]string{{"mbq", "awq"}, {"mbq-distort", "mbq"}}},
	{"tokens", "Is TLQ anything but MBQ on the quantized path where all tokens are answers?", [][2]string{{"tlq", "mbq-distort"}, {"answers", "mbq-distort"}}},
	{"rounding", "Does solving for the weights, or rotating them, beat rounding to nearest?", [][2]string{
		{"gptq", "rtn"}, {"rsq", "rtn"}, {"quarot-rtn", "rtn"}, {"quarot", "rtn"}, {"rsq", "gptq"}, {"quarot", "gptq"},
	}},
}

// textMethods are what makes sense without pictures.
var textMethods = []string{"rtn", "smoothquant", "awq", "mbq", "mbq-distort", "tlq", "answers", "gptq", "rsq", "quarot-rtn", "quarot"}

// decisiveMethods are what the main claims speak of, controls last.
var decisiveMethods = []string{"rtn", "smoothquant", "awq", "mbq", "qig", "tlq", "answers", "tlq-random", "tlq-least", "tlq-shuffled", "tlq-fewer"}

// ClaimsText is the built-in experiment on language models alone.
const ClaimsText = "text"

// ClaimSpecs lists the built-in experiments that decide claims.
func ClaimSpecs() []string {
	return []string{"decisive", "stress", "tokens", "exposure", "methods", ClaimsText}
}

// A 5% difference in KL takes about 1,200 prompts and 8 calibration seeds; a 1% difference
// in accuracy 10,000 questions (AllQuestions).
const (
	claimPrompts = 1200
	claimSeeds   = 8
)

// LoadClaims returns a built-in experiment, with 8 calibration seeds and 1,200 questions, for
// the zoo's models of scale nano:
//
//	decisive  the main claims, for nano and micro: seven formats, three of them with outliers
//	          too; 10,000 questions, 1,250 of each seed's own
//	stress    formats in which models break, and outliers of three kinds
//	tokens    what is kept, by which importance, from which pool, beside the controls
//	exposure  paths and targets of the search
//	methods   every method of the table
//	text      a language model alone: models, calibration and token streams are the user's
func LoadClaims(name string) (ClaimsSpec, error) {
	s := ClaimsSpec{
		Name: name, Scales: []string{"nano"},
		Prompts:     Prompts{Split: string(datasets.Test), N: claimPrompts},
		Calibration: DefaultSpec().Calibration,
	}
	for seed := range uint64(claimSeeds) {
		s.Seeds = append(s.Seeds, seed)
	}
	plain := func(formats ...string) {
		for _, f := range formats {
			s.Settings = append(s.Settings, ClaimSetting{Format: f})
		}
	}
	switch name {
	case "decisive":
		s.Scales, s.Prompts.N, s.Spread = []string{"nano", "micro"}, AllQuestions/claimSeeds, true
		plain("w4a8", "w4a6", "w4a4", "w3a16g16", "w4a16g64", "w3a16g64", "w2a16g32")
		for _, f := range []string{"w4a8", "w4a4", threeBits} {
			s.Settings = append(s.Settings, ClaimSetting{f, "channel"})
		}
		s.named(decisiveMethods...)
	case "stress":
		plain("w4a6", "w4a4", "w4a8g64", "w2a16g32")
		for _, kind := range []string{"channel", "modality", "sink"} {
			s.Settings = append(s.Settings, ClaimSetting{"w4a8", kind}, ClaimSetting{"w4a4", kind})
		}
		s.named("rtn", "smoothquant", "awq", "mbq", "tlq", "answers", "tlq-random")
	case "tokens":
		plain("w4a8", "w4a4", threeBits)
		s.named("rtn", "mbq", "tlq", "answers", "tlq-random", "tlq-least", "tlq-shuffled", "tlq-fewer")
		s.Methods = append(s.Methods, tokenVariants()...)
	case "exposure":
		plain("w4a8", "w4a4", threeBits, "w2a16g32")
		s.named("rtn", "mbq", "mbq-distort", "tlq")
		s.Methods = append(s.Methods,
			variant("tlq", "tlq-unexposed", "TLQ on the unquantized path", "path.expose=none"),
			variant("tlq", "tlq-layer", "TLQ exposed layer by layer", "path.expose=layer"),
			variant("tlq", "tlq-same", "TLQ, target on the exposed input", "path.target=same"))
	case "methods":
		plain("w4a8", threeBits)
		for _, m := range ptq.Methods() {
			s.named(m.Name)
		}
	case ClaimsText:
		plain("w4a8", "w4a6", "w4a4", "w3a16g16", "w4a16g64")
		s.named(textMethods...)
		s.Scales, s.Prompts, s.Calibration, s.GroupFallback = nil, Prompts{}, Calibration{Samples: 16}, ptq.HalveGroup
		s.Families = textFamilies
		return s, nil
	default:
		return s, fmt.Errorf("harness: unknown experiment %q: %s", name, expected(name, ClaimSpecs()))
	}
	s.Families = s.answerable(claimFamilies)
	return s, nil
}

// named adds methods of the table.
func (s *ClaimsSpec) named(names ...string) { s.Methods = append(s.Methods, named(names...)...) }

// variant is a method of the table with settings changed.
func variant(of, name, title string, settings ...string) MethodRef {
	m, err := ptq.FindMethod(of)
	for _, x := range settings {
		err = errors.Join(err, m.Set(x))
	}
	if err != nil {
		panic(fmt.Sprintf("harness: variant %s: %v", name, err)) // settings written above
	}
	m.Name, m.Title = name, title
	return MethodRef{Inline: &m}
}

// tokenVariants are TLQ with other tokens.
func tokenVariants() []MethodRef {
	var out []MethodRef
	for _, keep := range []string{"0.05", "0.5", "1"} {
		out = append(out, variant("tlq", "tlq-keep-"+keep, "TLQ, "+keep+" of the vision tokens", "tokens.keep="+keep))
	}
	return append(out,
		variant("tlq", "tlq-gradient", "TLQ, selected by mean |g|", "tokens.importance=gradient"),
		variant("tlq", "tlq-error", "TLQ, selected by mean |e|", "tokens.importance=error"),
		variant("tlq", "tlq-hard", "TLQ, selected tokens weigh alike", "tokens.weight=hard"),
		variant("tlq", "tlq-global", "TLQ, one pool over all samples", "tokens.pool=global"),
		variant("tlq", "tlq-text", "TLQ, other text by its gradient", "tokens.text=ratio"),
		variant("tlq", "tlq-mse", "TLQ, squared error", "search.metric=mse"))
}
