package models

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// chatTemplate is Qwen2-VL's template reduced to text and pictures: every
// message with its role, pictures as placeholders. SYSTEM stands for the default
// system message.
const chatTemplate = `{% for message in messages %}SYSTEM<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`

const systemClause = `{% if loop.first and message['role'] != 'system' %}<|im_start|>system
` + defaultSystem + `<|im_end|>
{% endif %}`

// saveProcessor writes config.json, tokenizer.json, preprocessor_config.json and
// chat_template.json.
func (p *Processor) saveProcessor(dir string) error {
	config, err := p.Config.HubJSON()
	if err != nil {
		return err
	}
	clause := ""
	if p.System != "" {
		clause = systemClause
	}
	template, err := json.MarshalIndent(map[string]string{"chat_template": strings.ReplaceAll(chatTemplate, "SYSTEM", clause)}, "", "  ")
	if err != nil {
		return err
	}
	preprocessor, err := json.MarshalIndent(p.Pixels, "", "  ")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"config.json", config},
		{"tokenizer.json", p.Tokenizer.JSON()},
		{"preprocessor_config.json", preprocessor},
		{"chat_template.json", template},
	} {
		if err := os.WriteFile(filepath.Join(dir, f.name), append(f.data, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
