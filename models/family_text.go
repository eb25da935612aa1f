package models

import "github.com/tlqlab/tlqlab/models/pixels"

// textDefaults are the values of keys that a language model's config leaves out,
// as the family's configuration class has them.
type textDefaults struct {
	hidden, intermediate, layers, heads, kvHeads int // kvHeads 0: as many as heads
	vocab, maxPositions                          int
	eps, theta                                   float64
}

// parseText reads the language model's part of a config.
func parseText(f *fields, d textDefaults) TextConfig {
	f.refuseUnless("hidden_act", "silu", "swish")
	f.refuseIf("use_sliding_window", "full attention")
	for _, kind := range f.texts("layer_types") {
		if kind != "full_attention" {
			f.fail("layer_types", "%q is not supported; expected full_attention in every layer", kind)
		}
	}
	if p := f.float("partial_rotary_factor", 1); p != 1 {
		f.fail("partial_rotary_factor", "%g is not supported; expected 1", p)
	}
	t := TextConfig{
		Hidden: f.int("hidden_size", d.hidden), Layers: f.int("num_hidden_layers", d.layers), Heads: f.int("num_attention_heads", d.heads),
		Intermediate: f.int("intermediate_size", d.intermediate), Vocab: f.int("vocab_size", d.vocab),
		Eps:          f.float("rms_norm_eps", d.eps),
		TiedHead:     f.bool("tie_word_embeddings", false),
		MaxPositions: f.int("max_position_embeddings", d.maxPositions),
	}
	kv := d.kvHeads
	if _, present := f.object["num_key_value_heads"]; kv == 0 || present {
		kv = t.Heads // what null means
	}
	t.KVHeads = f.int("num_key_value_heads", kv)
	if t.Heads <= 0 {
		f.fail("num_attention_heads", "got %d, expected a positive number", t.Heads)
		return t
	}
	t.HeadDim = f.int("head_dim", t.Hidden/t.Heads)
	if !f.has("head_dim") && t.Hidden%t.Heads != 0 {
		f.fail("hidden_size", "%d is not a multiple of num_attention_heads %d", t.Hidden, t.Heads)
	}
	return t
}

// parseRope reads rotary positions: rope_theta and rope_scaling, or
// rope_parameters, which holds both in newer configs. It returns the object that
// names the kind.
func parseRope(f *fields, t *TextConfig, def float64, kinds ...string) *fields {
	t.RopeTheta = f.float("rope_theta", def)
	r := f.sub("rope_scaling")
	if f.has("rope_parameters") {
		r = f.sub("rope_parameters")
		t.RopeTheta = r.float("rope_theta", t.RopeTheta)
	}
	if p := r.float("partial_rotary_factor", 1); p != 1 {
		r.fail("partial_rotary_factor", "%g is not supported; expected 1", p)
	}
	r.refuseUnless("type", kinds...)
	r.refuseUnless("rope_type", kinds...)
	return r
}

// plainText is a language model alone.
type plainText struct {
	name     string // model_type
	class    string // of the modelling code
	family   Family
	defaults textDefaults
	biases   func(f *fields, t *TextConfig)
}

var plainQwen2 = plainText{
	name: "qwen2", class: "Qwen2ForCausalLM", family: Qwen2,
	defaults: textDefaults{
		hidden: 4096, intermediate: 22016, layers: 32, heads: 32, kvHeads: 32, vocab: 151936, maxPositions: 32768,
		eps: 1e-6, theta: 1e4,
	},
	biases: func(_ *fields, t *TextConfig) { t.QKVBias = true },
}

var plainLlama = plainText{
	name: "llama", class: "LlamaForCausalLM", family: Llama,
	defaults: textDefaults{
		hidden: 4096, intermediate: 11008, layers: 32, heads: 32, vocab: 32000, maxPositions: 2048,
		eps: 1e-6, theta: 1e4,
	},
	biases: func(f *fields, t *TextConfig) {
		t.QKVBias = f.bool("attention_bias", false)
		t.OutBias = t.QKVBias // one switch for all four in the modelling code
		t.MLPBias = f.bool("mlp_bias", false)
		if window := f.int("sliding_window", 0); window > 0 {
			f.fail("sliding_window", "%d is not supported; expected full attention", window)
		}
	},
}

func (p plainText) modelType() string { return p.name }

// text reads the language model's part of a config, alone or inside another's.
func (p plainText) text(f *fields) TextConfig {
	t := parseText(f, p.defaults)
	parseRope(f, &t, p.defaults.theta, "default")
	p.biases(f, &t)
	return t
}

func (p plainText) parse(f *fields) *Config {
	c := &Config{Family: p.family, Text: p.text(f), ImageToken: -1, EOSToken: -1}
	c.addStops(f.ids("eos_token_id"))
	return c
}

func (p plainText) validate(*Config) error { return nil }

func (p plainText) hubJSON(c *Config) map[string]any {
	m := textJSON(&c.Text)
	m["architectures"] = []string{p.class}
	m["model_type"] = p.name
	m["torch_dtype"] = "bfloat16"
	m["eos_token_id"] = c.stops()
	if p.family == Llama {
		m["attention_bias"], m["mlp_bias"] = c.Text.QKVBias, c.Text.MLPBias
	}
	return m
}

// stops are the end tokens as a config.json has them: one, or a list of none or
// several.
func (c *Config) stops() any {
	switch {
	case c.EOSToken < 0:
		return []int32{}
	case len(c.StopTokens) == 0:
		return c.EOSToken
	}
	return append([]int32{c.EOSToken}, c.StopTokens...)
}

// textJSON is the language model's part of a config.json.
func textJSON(t *TextConfig) map[string]any {
	m := map[string]any{
		"hidden_act":              "silu",
		"hidden_size":             t.Hidden,
		"intermediate_size":       t.Intermediate,
		"num_hidden_layers":       t.Layers,
		"num_attention_heads":     t.Heads,
		"num_key_value_heads":     t.KVHeads,
		"vocab_size":              t.Vocab,
		"rms_norm_eps":            t.Eps,
		"rope_theta":              t.RopeTheta,
		"tie_word_embeddings":     t.TiedHead,
		"use_sliding_window":      false,
		"max_position_embeddings": t.MaxPositions,
	}
	if t.HeadDim*t.Heads != t.Hidden {
		m["head_dim"] = t.HeadDim
	}
	return m
}

func (p plainText) place(_ *Config, q Param) place { return whole(q.Name, q.Shape...) }

// aliases: without its head the library saves the bare model; inside a model of
// several parts it has a prefix.
func (p plainText) aliases() []alias {
	return []alias{
		{"model.", []string{"", "model.language_model.", "language_model.model."}},
		{"lm_head.", []string{"language_model.lm_head."}},
	}
}

func (p plainText) tower(*Config) tower { return nil }

func (p plainText) parsePixels([]byte, *Config) (pixels.Processor, error) { return nil, nil }

// dialect: a language model alone continues the text as it stands.
func (p plainText) dialect() dialect { return dialect{} }
