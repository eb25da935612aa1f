package models

import "strings"

// PartSize is a part of a model and its number of parameters.
type PartSize struct {
	Part       string `json:"part"`
	Parameters int64  `json:"parameters"`
}

// SiteSize is a site of the decoder blocks: its linears read In channels and write
// Out altogether.
type SiteSize struct {
	Site       Site  `json:"site"`
	In         int   `json:"in"`
	Out        int   `json:"out"`
	Linears    int   `json:"linears"`    // that read it, in one block
	Parameters int64 `json:"parameters"` // of their matrices, in all blocks
}

// partRules tell which part a parameter belongs to, by what its name contains; the
// first that fits counts.
var partRules = []struct{ contains, part string }{
	{"visual.merger.", "projector"},
	{"multi_modal_projector.", "projector"},
	{"image_newline", "projector"},
	{"visual.", "vision tower"},
	{"vision_tower.", "vision tower"},
	{"embed_tokens.", "embedding"},
	{"lm_head.", "head"},
	{"norm", "decoder norms"},
	{".bias", "decoder biases"},
	{"self_attn.", "decoder attention"},
	{"mlp.", "decoder MLP"},
}

// Parts counts the parameters of each part of c's model, in the order in which
// data meets them. A head that is the embedding counts there.
func (c *Config) Parts() []PartSize {
	list := []PartSize{
		{Part: "vision tower"},
		{Part: "projector"},
		{Part: "embedding"},
		{Part: "decoder attention"},
		{Part: "decoder MLP"},
		{Part: "decoder biases"},
		{Part: "decoder norms"},
		{Part: "head"},
	}
	for p := range paramShapes(c) {
		part := partOf(p.Name)
		for i := range list {
			if list[i].Part == part {
				list[i].Parameters += int64(product(p.Shape))
			}
		}
	}
	out := list[:0]
	for _, p := range list {
		if p.Parameters > 0 {
			out = append(out, p)
		}
	}
	return out
}

func partOf(name string) string {
	for _, r := range partRules {
		if strings.Contains(name, r.contains) {
			return r.part
		}
	}
	return ""
}

// SiteSizes describes the sites of c's decoder blocks.
func (c *Config) SiteSizes() []SiteSize {
	l := maker{empty: true}.layer(&c.Text, 0)
	var list []SiteSize
	for _, s := range Sites() {
		size := SiteSize{Site: s, In: siteWidth(l, s)}
		for _, lin := range l.Linears(s) {
			size.Out += lin.Out
			size.Linears++
			size.Parameters += int64(c.Text.Layers) * int64(lin.Out) * int64(lin.In)
		}
		list = append(list, size)
	}
	return list
}
