package models

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string // system, user or assistant
	Content []Part
}

// Part is a piece of a message: a picture's place or text.
type Part struct {
	Type string `json:"type"` // image or text
	Text string `json:"text,omitempty"`
}

// UnmarshalJSON reads a part as chat templates take it: one that names an image is
// one, whatever its type says.
func (p *Part) UnmarshalJSON(data []byte) error {
	var raw struct {
		Type     string          `json:"type"`
		Text     *string         `json:"text"`
		Image    json.RawMessage `json:"image"`
		ImageURL json.RawMessage `json:"image_url"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*p = Part{Type: raw.Type}
	switch {
	case raw.Type == "image" || raw.Image != nil || raw.ImageURL != nil:
		p.Type = "image"
	case raw.Type == "" && raw.Text != nil:
		p.Type = "text"
	}
	if raw.Text != nil && p.Type == "text" {
		p.Text = *raw.Text
	}
	return nil
}

// UnmarshalJSON reads a message as chat templates take it; content may be a plain
// text.
func (m *Message) UnmarshalJSON(data []byte) error {
	var raw struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	m.Role = raw.Role
	if strings.HasPrefix(strings.TrimSpace(string(raw.Content)), "[") {
		return json.Unmarshal(raw.Content, &m.Content)
	}
	m.Content = []Part{{Type: "text"}}
	return json.Unmarshal(raw.Content, &m.Content[0].Text)
}

// Chat renders a conversation as the family's chat template does, one placeholder
// per picture; generation opens the assistant's turn. A part that is neither text
// nor a picture is an error.
func (p *Processor) Chat(messages []Message, generation bool) (string, error) {
	if err := p.text(); err != nil {
		return "", err
	}
	d := p.Config.arch().dialect()
	if d.chat == nil {
		return "", fmt.Errorf("models: a %s language model has no chat template", p.Config.Family)
	}
	for i, m := range messages {
		for _, part := range m.Content {
			if part.Type != "image" && part.Type != "text" {
				return "", fmt.Errorf("models: message %d has a part of type %q; expected image or text", i+1, part.Type)
			}
		}
	}
	return d.chat(p.System, messages, generation)
}

// readTemplate returns the folder's chat template, "" where it has none. Releases
// of the library keep it in three places.
func readTemplate(dir string) (string, error) {
	for _, file := range []string{"chat_template.jinja", "chat_template.json", "tokenizer_config.json"} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("models: %w", err)
		}
		text := string(data)
		if strings.HasSuffix(file, ".json") {
			if text, err = templateField(data); err != nil {
				return "", fmt.Errorf("models: %s: %w", filepath.Join(dir, file), err)
			}
		}
		if text != "" {
			return text, nil
		}
	}
	return "", nil
}

// templateField is the chat_template of a JSON file: a text, or a list of named
// ones, of which the default counts.
func templateField(data []byte) (string, error) {
	f, err := parseFields(data)
	if err != nil {
		return "", err
	}
	if !f.isList("chat_template") {
		return f.text("chat_template", ""), *f.err
	}
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(f.object["chat_template"], &named); err != nil {
		return "", fmt.Errorf("chat_template: %w", err)
	}
	for _, n := range named {
		if n.Name == "default" {
			return n.Template, nil
		}
	}
	return "", nil
}

// recognize compares a folder's template with the family's, which is written out
// here: the marks of the family must be in it.
func (d *dialect) recognize(template string) error {
	for _, mark := range d.marks {
		if template != "" && !strings.Contains(template, mark) {
			return fmt.Errorf("the chat template is not the family's: it lacks %q; prompts cannot be written", mark)
		}
	}
	return nil
}

// defaultSystem is the message that Qwen2-VL's released template inserts.
const defaultSystem = "You are a helpful assistant."

// qwen2VLChat writes Qwen2-VL's template out: every message with its role, parts
// in their order, and the default system message before a conversation that has
// none.
func qwen2VLChat(system string, messages []Message, generation bool) (string, error) {
	var b strings.Builder
	if system != "" && len(messages) > 0 && messages[0].Role != "system" {
		b.WriteString("<|im_start|>system\n" + system + "<|im_end|>\n")
	}
	for _, m := range messages {
		b.WriteString("<|im_start|>" + m.Role + "\n")
		for _, p := range m.Content {
			if p.Type == "image" {
				b.WriteString("<|vision_start|><|image_pad|><|vision_end|>")
			} else {
				b.WriteString(p.Text)
			}
		}
		b.WriteString("<|im_end|>\n")
	}
	if generation {
		b.WriteString("<|im_start|>assistant\n")
	}
	return b.String(), nil
}

// qwen2VLTemplate is Qwen2-VL's template reduced to text and pictures.
func qwen2VLTemplate(system string) string {
	clause := ""
	if system != "" {
		clause = `{% if loop.first and message['role'] != 'system' %}<|im_start|>system
` + system + `<|im_end|>
{% endif %}`
	}
	return strings.ReplaceAll(`{% for message in messages %}SYSTEM<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}<|im_end|>
{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`, "SYSTEM", clause)
}

// llavaOVChat writes LLaVA-OneVision's template out: every message with its role
// and a space, its pictures, then each text on a new line; nothing follows the end
// of a message.
func llavaOVChat(system string, messages []Message, generation bool) (string, error) {
	var b strings.Builder
	if system != "" && len(messages) > 0 && messages[0].Role != "system" {
		b.WriteString("<|im_start|>system \n" + system + "<|im_end|>")
	}
	for _, m := range messages {
		b.WriteString("<|im_start|>" + m.Role + " ")
		for _, p := range m.Content {
			if p.Type == "image" {
				b.WriteString("<image>")
			}
		}
		for _, p := range m.Content {
			if p.Type == "text" {
				b.WriteString("\n" + p.Text)
			}
		}
		b.WriteString("<|im_end|>")
	}
	if generation {
		b.WriteString("<|im_start|>assistant\n")
	}
	return b.String(), nil
}

// llavaOVTemplate is LLaVA-OneVision's template reduced to text and pictures.
func llavaOVTemplate(system string) string {
	clause := ""
	if system != "" {
		clause = `{% if loop.first and message['role'] != 'system' %}<|im_start|>system 
` + system + `<|im_end|>{% endif %}`
	}
	return `{% for message in messages %}` + clause + `{{'<|im_start|>' + message['role'] + ' '}}` +
		`{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}` +
		`{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + content['text'] }}{% endfor %}` +
		`{{'<|im_end|>'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`
}
