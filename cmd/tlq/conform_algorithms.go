package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/harness/algorithms"
)

// algorithms compares the calibration engine with fixture folders.
func (f *compareFixtures) algorithms(ctx context.Context, c *console) error {
	list := comparisons[algorithms.Check]{console: c, keep: f.json, kept: []algorithms.Check{}, print: printAlgorithmCheck}
	res, err := algorithms.Run(ctx, f.dirs, func(check algorithms.Check) { list.add(check.Fixture, check) })
	if err != nil {
		return err
	}
	if f.json {
		if err := c.json(struct {
			algorithms.Result
			List []algorithms.Check `json:"list"`
		}{res, list.kept}); err != nil {
			return err
		}
	} else {
		for _, kind := range res.NotBuilt {
			c.printf("not built yet: %s\n", kind)
		}
		c.printf("%d compared, %d beyond tolerance, %d kinds not built yet\n", res.Checks, res.Failed, len(res.NotBuilt))
	}
	switch {
	case res.Failed > 0:
		return fmt.Errorf("%d of %d comparisons are beyond their tolerance: expected none", res.Failed, res.Checks)
	case len(res.NotBuilt) > 0:
		return fmt.Errorf("algorithms: %s: %w", strings.Join(res.NotBuilt, ", "), errNotBuilt)
	}
	return nil
}

// printAlgorithmCheck writes one comparison as a line.
func printAlgorithmCheck(c *console, check algorithms.Check) {
	verdict := "ok"
	if !check.Pass {
		verdict = "FAIL"
	}
	c.printf("  %-4s  %-28s  %-48s  max error %8.2g  tolerance %-9s %7.2g  n %d", verdict, check.Case, check.Name, check.Error, check.Kind, check.Tolerance, check.Values)
	if check.Note != "" {
		c.printf("  %s", check.Note)
	}
	c.printf("\n")
}
