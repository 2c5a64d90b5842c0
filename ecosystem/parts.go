package ecosystem

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// This file takes fields whose value is an object (or a list) with parts of its own:
// what is wrong with a part is told with the part's place, and all of it at once.

// partError is what is wrong with one part.
type partError struct {
	path string // behind the field's name: ".promote.http", "[1]"
	at   place
	err  error
}

// partErrors is what is wrong with the parts of a value; it has at least one.
type partErrors []partError

func (es partErrors) Error() string {
	var all []string
	for _, e := range es {
		all = append(all, strings.TrimPrefix(e.path, ".")+": "+e.err.Error())
	}
	return strings.Join(all, "; ")
}

// add notes what was wrong with one part, if anything.
func (es *partErrors) add(path string, at place, err error) {
	var inner partErrors
	switch {
	case err == nil:
	case errors.As(err, &inner):
		for _, e := range inner {
			*es = append(*es, partError{path + e.path, e.at, e.err})
		}
	default:
		*es = append(*es, partError{path, at, err})
	}
}

// result is the error, or nil when there is none.
func (es partErrors) result() error {
	if len(es) == 0 {
		return nil
	}
	return es
}

// part is one name that an object may have.
type part struct {
	name string
	take func(*node) error
}

// takeParts takes an object; want is how one may look. A null is as if the part
// weren't there.
func takeParts(v *node, want string, parts ...part) error {
	if v.kind != kindObject {
		return fmt.Errorf("want an object like %s, got %s", want, v.describe())
	}
	var wrong partErrors
	for _, m := range v.members {
		at := slices.IndexFunc(parts, func(p part) bool { return p.name == m.name })
		switch path := "." + join("", m.name); {
		case at < 0:
			wrong.add(path, m.place, unknownPart(m.name, parts))
		case m.value.kind != kindNull:
			wrong.add(path, m.value.place, parts[at].take(m.value))
		}
	}
	return wrong.result()
}

func unknownPart(name string, parts []part) error {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	if guess := nearest(name, names); guess != "" {
		return fmt.Errorf("unknown name, did you mean %q?", guess)
	}
	return fmt.Errorf("unknown name (there are %s)", strings.Join(names, ", "))
}

// takes makes a part's function of one that parses a value.
func takes[T any](to *T, parse func(*node) (T, error)) func(*node) error {
	return func(v *node) (err error) {
		*to, err = parse(v)
		return err
	}
}
