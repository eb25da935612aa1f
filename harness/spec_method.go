package harness

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/tlqlab/tlqlab/ptq"
)

// MethodRef is a method by name or, where a Spec brings its own, by value. In
// JSON it is a string or a method's object.
type MethodRef struct {
	Name   string      // in the table of methods; unused where Inline is set
	Inline *ptq.Method // nil: the table's
}

// Method returns the method itself; the error lists the valid names.
func (r MethodRef) Method() (ptq.Method, error) {
	if r.Inline != nil {
		return *r.Inline, r.Inline.Validate()
	}
	return ptq.FindMethod(r.Name)
}

// ID is the method's name.
func (r MethodRef) ID() string {
	if r.Inline != nil {
		return r.Inline.Name
	}
	return r.Name
}

// MarshalJSON writes the name or the object.
func (r MethodRef) MarshalJSON() ([]byte, error) {
	if r.Inline != nil {
		return json.Marshal(r.Inline)
	}
	return json.Marshal(r.Name)
}

// UnmarshalJSON reads a name or an object.
func (r *MethodRef) UnmarshalJSON(data []byte) error {
	*r = MethodRef{}
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		m, err := ptq.ParseMethod(trimmed)
		r.Inline = &m
		return err
	}
	if err := json.Unmarshal(data, &r.Name); err != nil {
		return errors.New("a method is a name or an object")
	}
	return nil
}
