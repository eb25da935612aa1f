package main

import (
	"errors"
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
