package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"os"
)

// generate answers one prompt.
type generate struct {
	model  string
	images []string
	prompt string
	limit  int
	json   bool
}

func (g *generate) Flags(fs *flag.FlagSet) {
	fs.StringVar(&g.model, "model", "", "`model`")
	fs.Var(list{values: &g.images}, "image", "picture `file` (PNG, JPEG or GIF); may be repeated")
	fs.StringVar(&g.prompt, "prompt", "", "`text` behind the pictures")
	fs.IntVar(&g.limit, "max-tokens", 32, "longest answer, `N` tokens")
	fs.BoolVar(&g.json, "json", false, "print JSON")
}

func (g *generate) Validate(args []string) error {
	switch {
	case g.model == "":
		return errors.New("no --model given")
	case g.prompt == "":
		return errors.New("no --prompt given")
	case g.limit < 1:
		return fmt.Errorf("--max-tokens %d: expected at least 1", g.limit)
	}
	return none(args)
}

func (g *generate) Run(ctx context.Context, c *console) error {
	m, err := openModel(ctx, g.model)
	if err != nil {
		return err
	}
	var images []image.Image
	for _, path := range g.images {
		img, err := readImage(path)
		if err != nil {
			return err
		}
		images = append(images, img)
	}
	text, tokens, err := m.Generate(images, g.prompt, g.limit)
	if err != nil {
		return err
	}
	if g.json {
		return c.json(struct {
			Model  string `json:"model"`
			Prompt string `json:"prompt"`
			Text   string `json:"text"`
			Tokens int    `json:"tokens"`
		}{m.Name, g.prompt, text, tokens})
	}
	c.printf("%s\n", text)
	return nil
}

func readImage(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("picture %s: %w: expected a whole PNG, JPEG or GIF file", path, err)
	}
	return img, nil
}
