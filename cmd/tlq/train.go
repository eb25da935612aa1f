package main

import (
	"context"
	"flag"
	"path/filepath"

	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/train"
)

// trainModel trains a model of the zoo.
type trainModel struct {
	recipe, out string
	seed        uint64
}

func (t *trainModel) Flags(fs *flag.FlagSet) {
	fs.Uint64Var(&t.seed, "seed", 1, "seed of weights and pictures, `N`")
	fs.StringVar(&t.out, "o", "", "`folder` of the model; an interrupted training continues there")
}

func (t *trainModel) Validate(args []string) error {
	return exactly(args, &t.recipe)
}

func (t *trainModel) Run(ctx context.Context, c *console) error {
	recipe, err := train.FindRecipe(t.recipe)
	if err != nil {
		return err
	}
	recipe.Seed = t.seed
	if t.out == "" {
		t.out = filepath.Join("runs", recipe.Name+"-"+recipe.Hash()[:8])
	}
	if err := harness.CheckOutput(t.out); err != nil {
		return err
	}
	if err := train.Run(ctx, recipe, t.out); err != nil {
		return err
	}
	s, err := harness.Open()
	if err != nil {
		return err
	}
	if err := train.WriteCard(ctx, s, t.out, train.DefaultCard()); err != nil {
		return err
	}
	c.printf("%s\n", t.out)
	return nil
}
