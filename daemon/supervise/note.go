package supervise

import (
	"fmt"
	"slices"
)

// A Machine as JSON is read by later releases, and by earlier ones after a
// downgrade: names stay, unknown ones are ignored, and what is missing is zero.

// MarshalText writes a state by its name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads it.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("no such state: %q", text)
	}
	*s = State(i)
	return nil
}

// MarshalText writes by name what follows.
func (t then) MarshalText() ([]byte, error) { return []byte(thenNames[t]), nil }

// UnmarshalText reads it.
func (t *then) UnmarshalText(text []byte) error {
	i := slices.Index(thenNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("no such plan: %q", text)
	}
	*t = then(i)
	return nil
}
