package main

import (
	"context"
	"errors"
	"flag"

	"github.com/tlqlab/tlqlab/harness"
)

// loss measures the next-token loss on token streams.
type loss struct {
	model, tokens string
	json          bool
}

func (l *loss) Flags(fs *flag.FlagSet) {
	fs.StringVar(&l.model, "model", "", "`model`")
	fs.StringVar(&l.tokens, "tokens", "", "`file`.safetensors[:NAME] with an integer tensor [streams, length] or [length]")
	fs.BoolVar(&l.json, "json", false, "print JSON")
}

func (l *loss) Validate(args []string) error {
	if l.model == "" || l.tokens == "" {
		return errors.New("expected --model and --tokens")
	}
	return none(args)
}

func (l *loss) Run(ctx context.Context, c *console) error {
	m, err := openModel(ctx, l.model)
	if err != nil {
		return err
	}
	streams, err := harness.ReadStreams(l.tokens)
	if err != nil {
		return err
	}
	result, err := m.Loss(streams)
	if err != nil {
		return err
	}
	if l.json {
		return c.json(result)
	}
	c.printf("streams     %d\ntokens      %d\nloss        %.6f\nperplexity  %.6f\n", result.Streams, result.Tokens, result.Loss, result.Perplexity)
	return nil
}
