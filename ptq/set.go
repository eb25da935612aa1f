package ptq

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Set changes one setting, given as "KEY=VALUE" with a dotted key such as
// "tokens.keep=0.5" or "search.sites=qkv,down". Values are typed strictly: an
// integer field takes no fraction. m is unchanged when there is an error; values
// are checked by [Method.Validate], which the caller runs after the last change.
func (m *Method) Set(assignment string) error {
	key, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return fmt.Errorf("ptq: setting %q has no \"=\"; expected KEY=VALUE, for example tokens.keep=0.5", assignment)
	}
	field := reflect.ValueOf(m).Elem()
	for _, part := range strings.Split(key, ".") {
		next := reflect.Value{}
		if field.Kind() == reflect.Struct {
			next = fieldByTag(field, part)
		}
		if !next.IsValid() {
			return fmt.Errorf("ptq: unknown setting %q; expected %s", key, choices(key, methodKeys()))
		}
		field = next
	}
	if err := setField(field, value); err != nil {
		return fmt.Errorf("ptq: setting %s: got %q; expected %w", key, value, err)
	}
	return nil
}

// Setting is one setting of a method, as [Method.Set] takes it.
type Setting struct{ Key, Value string }

// Settings lists all settings of m, in the order of its JSON.
func (m Method) Settings() []Setting {
	var list []Setting
	var walk func(v reflect.Value, prefix string)
	walk = func(v reflect.Value, prefix string) {
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			key, field := prefix+jsonName(v.Type().Field(i)), v.Field(i)
			switch field.Kind() {
			case reflect.Struct:
				walk(field, key+".")
			case reflect.Slice:
				parts := make([]string, field.Len())
				for k := range parts {
					parts[k] = fmt.Sprint(field.Index(k).Interface())
				}
				list = append(list, Setting{key, strings.Join(parts, ",")})
			default:
				list = append(list, Setting{key, fmt.Sprint(field.Interface())})
			}
		}
	}
	walk(reflect.ValueOf(m), "")
	return list
}

// setField parses value into a leaf; the error says what was expected.
func setField(field reflect.Value, value string) error {
	switch field.Kind() {
	case reflect.String:
		field.SetString(value)
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("true or false")
		}
		field.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("an integer")
		}
		field.SetInt(int64(n))
	case reflect.Float64:
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("a number")
		}
		field.SetFloat(x)
	case reflect.Slice: // separated by commas
		if value == "" {
			field.SetZero()
			return nil
		}
		parts := strings.Split(value, ",")
		list := reflect.MakeSlice(field.Type(), len(parts), len(parts))
		for i, p := range parts {
			if err := setField(list.Index(i), p); err != nil {
				return fmt.Errorf("%w, or several separated by commas", err)
			}
		}
		field.Set(list)
	default:
		return fmt.Errorf("one setting inside it, for example %s", "tokens.keep=0.5")
	}
	return nil
}

// fieldByTag finds the field whose JSON name is name.
func fieldByTag(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && jsonName(f) == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// jsonName is a field's name in JSON.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// methodKeys lists the dotted keys of all settings, sorted.
func methodKeys() []string {
	var keys []string
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for i := range t.NumField() {
			if !t.Field(i).IsExported() {
				continue
			}
			key := prefix + jsonName(t.Field(i))
			if t.Field(i).Type.Kind() == reflect.Struct {
				walk(t.Field(i).Type, key+".")
			} else {
				keys = append(keys, key)
			}
		}
	}
	walk(reflect.TypeFor[Method](), "")
	slices.Sort(keys)
	return keys
}
