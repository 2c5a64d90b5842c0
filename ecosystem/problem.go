package ecosystem

import (
	"fmt"
	"slices"
	"strings"
)

// Severity orders problems: an error stops everything, a warning says that
// something asked for will not happen, a note only informs.
type Severity int

const (
	SeverityNote Severity = iota
	SeverityWarning
	SeverityError
)

// Problem is one remark about one place in a file (Line 0: about no line, such
// as a command-line option).
type Problem struct {
	Severity  Severity
	File      string // as the user named it
	Line, Col int    // 1-based; Col counts bytes
	Text      string // `apps[1].instnces: unknown field, did you mean "instances"?`
}

// String is `file:line:col: text`, without the parts that are not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is what is wrong with a file, in the order of its lines. As an error
// it holds at least one SeverityError.
type Problems []Problem

// Error is all errors, a line each.
func (ps Problems) Error() string {
	var lines []string
	for _, p := range ps {
		if p.Severity == SeverityError {
			lines = append(lines, p.String())
		}
	}
	return strings.Join(lines, "\n")
}

// failed says whether there is an error among them.
func (ps Problems) failed() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == SeverityError })
}

// sorted puts them into the order of the file; what has no line keeps its order.
func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return ps
}
