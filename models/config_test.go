package models

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// smallConfigs are configs of all families, as short as they can be.
var smallConfigs = map[Family]string{
	Qwen2VL: `{"model_type":"qwen2_vl","hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
		"vocab_size":300,"rope_scaling":{"type":"mrope","mrope_section":[2,3,3]},
		"vision_config":{"depth":2,"embed_dim":32,"num_heads":2,"hidden_size":64}}`,
	LlavaOV: `{"model_type":"llava_onevision","image_token_index":299,
		"text_config":{"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":300},
		"vision_config":{"hidden_size":32,"image_size":28,"intermediate_size":48,"num_attention_heads":2,"num_hidden_layers":2,"patch_size":7}}`,
	Qwen2: `{"model_type":"qwen2","hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":300}`,
	Llama: `{"model_type":"llama","hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":300}`,
}

// Keys that are left out take the values of the family's configuration class.
func TestDefaultsDifferByFamily(t *testing.T) {
	for family, want := range map[Family]TextConfig{
		Qwen2VL: {KVHeads: 2, Eps: 1e-5, RopeTheta: 1e6, MRopeSection: [3]int{2, 3, 3}, QKVBias: true, MaxPositions: 32768},
		LlavaOV: {KVHeads: 2, Eps: 1e-6, RopeTheta: 1e4, QKVBias: true, MaxPositions: 32768},
		Qwen2:   {KVHeads: 2, Eps: 1e-6, RopeTheta: 1e4, QKVBias: true, MaxPositions: 32768},
		Llama:   {KVHeads: 4, Eps: 1e-6, RopeTheta: 1e4, MaxPositions: 2048},
	} {
		c, err := ParseConfig([]byte(smallConfigs[family]))
		if err != nil {
			t.Fatalf("%s: %v", family, err)
		}
		want.Hidden, want.Layers, want.Heads, want.HeadDim, want.Intermediate, want.Vocab = 64, 2, 4, 16, 96, 300
		if diff := cmp.Diff(want, c.Text); diff != "" {
			t.Errorf("%s: %s", family, diff)
		}
	}
	c, err := ParseConfig([]byte(smallConfigs[LlavaOV]))
	if err != nil {
		t.Fatal(err)
	}
	v := c.Vision
	if v.Eps != 1e-6 || v.MaxTiles != 9 || len(v.Grids) != 36 || v.FeatureLayer != 2 || !v.ProjectorBias || !v.PoolingHead || v.Channels != 3 {
		t.Errorf("vision defaults: %+v", v)
	}
	if c, err = ParseConfig([]byte(smallConfigs[Qwen2VL])); err != nil {
		t.Fatal(err)
	}
	if v = c.Vision; v.Intermediate != 128 || v.Merge != 2 || v.TemporalPatch != 2 || v.PatchSize != 14 || c.ImageToken != 151655 || c.EOSToken != 151645 {
		t.Errorf("vision defaults: %+v, %d, %d", v, c.ImageToken, c.EOSToken)
	}
}

// Newer releases nest the language model and gather the rotary settings.
func TestNewerLayouts(t *testing.T) {
	old, err := ParseConfig([]byte(smallConfigs[Qwen2VL]))
	if err != nil {
		t.Fatal(err)
	}
	nested, err := ParseConfig([]byte(`{"model_type":"qwen2_vl","image_token_id":151655,"text_config":{"model_type":"qwen2_vl_text","hidden_size":64,
		"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":300,"layer_types":["full_attention","full_attention"],
		"rope_parameters":{"rope_type":"default","mrope_section":[2,3,3],"rope_theta":1000000.0}},
		"vision_config":{"depth":2,"embed_dim":32,"num_heads":2,"hidden_size":64,"in_chans":3}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(old, nested); diff != "" {
		t.Error(diff)
	}
}

// A field that changes the numbers and isn't supported fails by its name.
func TestUnsupportedFieldsFailByName(t *testing.T) {
	for _, c := range []struct {
		family Family
		from   string // in the small config; empty: right behind the brace
		to     string
		want   []string
	}{
		{Qwen2, `"qwen2"`, `"mixtral"`, []string{`"mixtral"`, "llama, llava_onevision, qwen2, qwen2_vl"}},
		{Qwen2, "", `"use_sliding_window":true,`, []string{"use_sliding_window", "full attention"}},
		{Qwen2, "", `"layer_types":["full_attention","sliding_attention"],`, []string{"layer_types", "sliding_attention"}},
		{Llama, "", `"sliding_window":128,`, []string{"sliding_window", "128"}},
		{Llama, "", `"hidden_act":"gelu",`, []string{"hidden_act", "gelu", "silu"}},
		{Llama, "", `"rope_scaling":{"rope_type":"llama3","factor":8.0},`, []string{"rope_scaling.rope_type", "llama3"}},
		{Llama, "", `"rope_scaling":{"type":"linear","factor":2.0},`, []string{"rope_scaling.type", "linear"}},
		{Llama, "", `"rope_parameters":{"rope_type":"yarn","rope_theta":1e6},`, []string{"rope_parameters.rope_type", "yarn"}},
		{Llama, "", `"partial_rotary_factor":0.5,`, []string{"partial_rotary_factor"}},
		{Llama, "", `"quantization_config":{"quant_method":"gptq"},`, []string{"quantization_config", "F32, F16 or BF16"}},
		{Llama, `"num_attention_heads":4`, `"num_attention_heads":0`, []string{"num_attention_heads", "0"}},
		{Llama, `"num_attention_heads":4`, `"num_attention_heads":5`, []string{"hidden_size: 64", "num_attention_heads 5"}},
		{Llama, `"hidden_size":64`, `"hidden_size":"64"`, []string{"hidden_size", `"64"`, "integer"}},
		{Llama, `"hidden_size":64`, `"hidden_size":-64`, []string{"hidden_size", "-64"}},
		{Llama, `"hidden_size":64`, `"hidden_size":1e30`, []string{"hidden_size", "1e30"}},
		{Llama, `"vocab_size":300`, `"vocab_size":99999999999`, []string{"vocab_size", "99999999999"}},
		{Llama, `"num_hidden_layers":2`, `"num_hidden_layers":100000`, []string{"num_hidden_layers", "100000"}},
		{Llama, "", `"rms_norm_eps":0,`, []string{"rms_norm_eps"}},
		{Llama, "", `"head_dim":7,`, []string{"head width 7"}},
		{Llama, "", `"num_key_value_heads":3,`, []string{"num_key_value_heads 3"}},
		{Llama, "", `"eos_token_id":-2,`, []string{"eos_token_id", "-2"}},
		{Qwen2VL, `,"mrope_section":[2,3,3]`, ``, []string{"mrope_section"}},
		{Qwen2VL, `[2,3,3]`, `[2,3,4]`, []string{"mrope_section", "[2 3 4]"}},
		{Qwen2VL, `[2,3,3]`, `[-2,5,5]`, []string{"mrope_section", "[-2 5 5]"}},
		{Qwen2VL, `"type":"mrope"`, `"type":"yarn"`, []string{"rope_scaling.type", "yarn", "mrope"}},
		{Qwen2VL, `"depth":2`, `"depth":2,"hidden_act":"gelu"`, []string{"vision_config.hidden_act", "quick_gelu"}},
		{Qwen2VL, `"num_heads":2,"hidden_size":64`, `"num_heads":2,"hidden_size":48`, []string{"vision_config.hidden_size", "48", "64"}},
		{Qwen2VL, `"num_heads":2`, `"num_heads":3`, []string{"num_heads 3"}},
		{Qwen2VL, "", `"head_dim":32,`, []string{"head_dim"}},
		{LlavaOV, "", `"projector_hidden_act":"relu",`, []string{"projector_hidden_act", "relu", "gelu"}},
		{LlavaOV, "", `"vision_feature_select_strategy":"default",`, []string{"vision_feature_select_strategy", "full"}},
		{LlavaOV, "", `"vision_feature_layer":[-2,-1],`, []string{"vision_feature_layer", "list"}},
		{LlavaOV, "", `"vision_feature_layer":-4,`, []string{"vision_feature_layer", "-4", "2 blocks"}},
		{LlavaOV, "", `"vision_aspect_ratio":"square",`, []string{"vision_aspect_ratio", "square", "anyres_max_9"}},
		{LlavaOV, "", `"vision_aspect_ratio":"anyres_max_0",`, []string{"vision_aspect_ratio", "anyres_max_0"}},
		{LlavaOV, "", `"image_grid_pinpoints":[[28]],`, []string{"image_grid_pinpoints", "[28]"}},
		{LlavaOV, "", `"image_grid_pinpoints":[],`, []string{"image_grid_pinpoints", "empty"}},
		{LlavaOV, `"text_config":{`, `"text_config":{"model_type":"gemma",`, []string{"text_config.model_type", "gemma", "qwen2"}},
		{LlavaOV, `"text_config":{`, `"text_config":{"use_sliding_window":true,`, []string{"text_config.use_sliding_window"}},
		{LlavaOV, `"vision_config":{`, `"vision_config":{"model_type":"clip_vision_model",`, []string{"vision_config.model_type", "clip_vision_model"}},
		{LlavaOV, `"vision_config":{`, `"vision_config":{"hidden_act":"quick_gelu",`, []string{"vision_config.hidden_act", "gelu_pytorch_tanh"}},
		{LlavaOV, `"vision_config":{`, `"vision_config":{"num_channels":1,`, []string{"num_channels", "1"}},
		{LlavaOV, `"patch_size":7`, `"patch_size":29`, []string{"patch_size 29", "image_size 28"}},
	} {
		text := smallConfigs[c.family]
		if c.from == "" {
			text = "{" + c.to + text[1:]
		} else {
			if !strings.Contains(text, c.from) {
				t.Fatalf("no %s in the config", c.from)
			}
			text = strings.Replace(text, c.from, c.to, 1)
		}
		_, err := ParseConfig([]byte(text))
		if err == nil {
			t.Errorf("%s: %s is accepted", c.family, c.to)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %s: error %q does not name %q", c.family, c.to, err, w)
			}
		}
	}
}

// Whatever ParseConfig accepts is written and read back as the same.
func FuzzParseConfig(f *testing.F) {
	for _, text := range smallConfigs {
		f.Add([]byte(text))
	}
	files, err := filepath.Glob("testdata/*/config.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		text, err := c.HubJSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseConfig(text)
		if err != nil {
			t.Fatalf("%v in what was written: %s", err, text)
		}
		got, _ := json.Marshal(back)
		want, _ := json.Marshal(c)
		if string(got) != string(want) {
			t.Errorf("came back as %s, was %s", got, want)
		}
	})
}
