package models

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// saveProcessor writes config.json and what the processor has of tokenizer.json,
// preprocessor_config.json and chat_template.json.
func (p *Processor) saveProcessor(dir string) error {
	config, err := p.Config.HubJSON()
	if err != nil {
		return err
	}
	files := map[string][]byte{"config.json": config}
	if p.Tokenizer != nil {
		files["tokenizer.json"] = p.Tokenizer.JSON()
	}
	if p.Pixels != nil {
		if files["preprocessor_config.json"], err = json.MarshalIndent(p.Pixels, "", "  "); err != nil {
			return err
		}
	}
	if d := p.Config.arch().dialect(); d.template != nil {
		template := map[string]string{"chat_template": d.template(p.System)}
		if files["chat_template.json"], err = json.MarshalIndent(template, "", "  "); err != nil {
			return err
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
