package main

import (
	"errors"
	"fmt"
	"strconv"
)

// optionalInt is an integer flag that knows whether it was given.
type optionalInt struct {
	value int
	set   bool
}

// String is the value as text; empty where it was not given.
func (o *optionalInt) String() string {
	if o == nil || !o.set {
		return ""
	}
	return strconv.Itoa(o.value)
}

// Set reads the value.
func (o *optionalInt) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("expected a whole number")
	}
	o.value, o.set = n, true
	return nil
}

// mostWorkers bounds --workers: a worker more than there are processors gains nothing.
const mostWorkers = 256

// checkWorkers refuses a number of cells worked on at once that no machine has processors for.
func checkWorkers(n int) error {
	if n < 1 || n > mostWorkers {
		return fmt.Errorf("--workers %d: expected 1 to %d, as many as there are processors at most", n, mostWorkers)
	}
	return nil
}
