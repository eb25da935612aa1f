package main

import (
	"context"
	"flag"

	"github.com/tlqlab/tlqlab/harness/devices"
)

// listDevices prints accelerators and the processor.
type listDevices struct{ json bool }

func (d *listDevices) Flags(fs *flag.FlagSet) { fs.BoolVar(&d.json, "json", false, "print JSON") }

func (d *listDevices) Validate(args []string) error { return none(args) }

func (d *listDevices) Run(_ context.Context, c *console) error {
	r, err := devices.List()
	if err != nil {
		return err
	}
	if d.json {
		return c.json(r)
	}
	c.printf("%s", r.Text())
	return nil
}
