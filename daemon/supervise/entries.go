package supervise

import (
	"slices"
	"strings"
)

// withEntries is an environment with some entries set; the one that was given stays as it
// is.
func withEntries(env, set []string) []string {
	if len(set) == 0 {
		return env
	}
	all := slices.Grow(slices.Clone(set), len(env))
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") }) {
			all = append(all, entry)
		}
	}
	return all
}
