package models_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// Conversations as the two released templates render them.
func TestChat(t *testing.T) {
	const messages = `[{"role":"user","content":[{"type":"text","text":"Which? "},{"type":"image","image":"a.png"},{"image_url":{"url":"b"}},{"text":"Say."}]},
		{"role":"assistant","content":"B"}]`
	for family, want := range map[string]string{
		"qwen2vl": "<|im_start|>user\nWhich? <|vision_start|><|image_pad|><|vision_end|><|vision_start|><|image_pad|><|vision_end|>Say.<|im_end|>\n" +
			"<|im_start|>assistant\nB<|im_end|>\n<|im_start|>assistant\n",
		"llavaov": "<|im_start|>user <image><image>\nWhich? \nSay.<|im_end|><|im_start|>assistant \nB<|im_end|><|im_start|>assistant\n",
	} {
		m, _ := loadTiny(t, tinyFamilies[family])
		var list []models.Message
		if err := json.Unmarshal([]byte(messages), &list); err != nil {
			t.Fatal(err)
		}
		got, err := m.Chat(list, true)
		if err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", family, got, err, want)
		}
		list[0].Content[1].Type = "video"
		if _, err := m.Chat(list, true); err == nil || !strings.Contains(err.Error(), "video") {
			t.Errorf("%s: a video is rendered: %v", family, err)
		}
		p := *m.Processor
		p.System = "Be brief."
		if got, err = p.Chat(list[1:], false); err != nil || !strings.Contains(got, "system") || !strings.Contains(got, "Be brief.<|im_end|>") {
			t.Errorf("%s: no system message in %q: %v", family, got, err)
		}
	}
}
